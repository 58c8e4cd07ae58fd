"""The rows of docs/language.md, and what covers each: a script that is run here, or a test elsewhere.

A row is called as the page calls it: `pipeline.env`, `stage.retry`, `process.run`, `h:wait`, `run.id`.
"""

SCRIPTS = {
    "log.debug": 'log.debug("said by debug", { n = 1 })',
    "log.info": 'log.info("said by info")',
    "log.warn": 'log.warn("said by warn")',
    "log.error": 'log.error("said by error")',
    "log.group": 'assert(log.group("some", function() log.info("said in some") return 7 end) == 7)',
    "log.annotate": 'log.annotate({ level = "error", message = "said by annotate", file = "a.py", line = 3 })',
    "print": 'print("said by print", 1, nil)',
    "env.get": 'assert(env.get("OF_PIPELINE") == "p" and env.get("who") == "Ada" and env.get("NOT", "x") == "x")',
    "env.require": 'assert(env.require("OF_PIPELINE") == "p" and not pcall(env.require, "NOT"))',
    "env.has": 'assert(env.has("OF_PIPELINE") and not env.has("NOT"))',
    "env.all": 'assert(env.all().OF_PIPELINE == "p" and env.all().count == "3")',
    "input.get": 'assert(input.get("who") == "Ada" and input.get("none", 5) == 5)',
    "input.require": 'assert(input.require("count") == 3 and not pcall(input.require, "none"))',
    "input.has": 'assert(input.has("flag") and not input.has("none"))',
    "input.all": 'local all = input.all() assert(all.who == "Ada" and all.count == 3 and all.flag == true)',
    "output.set": 'output.set("list", { 1, "two", { three = 3.5 } }) assert(not pcall(output.set, "f", print))',
    "output.get": 'assert(output.get("list")[3].three == 3.5 and output.get("none", 1) == 1)',
    "output.require": 'assert(output.require("list")[2] == "two" and not pcall(output.require, "none"))',
    "output.has": 'assert(output.has("list") and not output.has("none"))',
    "output.all": 'assert(output.all().list[1] == 1)',
    "run.id": 'assert(#run.id == 36)',
    "run.pipeline": 'assert(run.pipeline == "contract-functions")',
    "run.project": 'assert(run.project == "default")',
    "run.trigger": 'assert(type(run.trigger) == "string" and #run.trigger > 0)',
    "run.actor": 'assert(run.actor == "local admin")',
    "run.number": 'assert(run.number == 1)',
    "run.attempt": 'assert(run.attempt == 1)',
    "run.summary": 'run.summary("**summed up**")',
    "process.run": """
        local got = process.run({ command = "sh", args = { "-c", "read x; echo $x $A $1; echo err >&2; pwd; exit 3", "-", "$(no)" },
          env = { A = "a" }, stdin = "in\\n", cwd = ".", timeout = "30s", check = false, capture = true })
        assert(got.exit_code == 3 and got.stdout == "in a $(no)\\n/workspace\\n" and got.stderr == "err\\n" and got.seconds >= 0)
        assert(not pcall(process.run, { command = "false" }))""",
    "process.which": 'assert(process.which("sh") and process.which("no-such-tool") == nil)',
    "process.start": 'h = process.start({ command = "sh", args = { "-c", "echo up; exec sleep 60" }, ready = { log = "up" } })',
    "h:running": 'assert(h:running())',
    "h:stop": 'h:stop() assert(not h:running())',
    "h:wait": 'assert(process.start({ command = "sh", args = { "-c", "exit 4" }, check = false }):wait().exit_code == 4)',
    "git.clone": 'head = git.clone({ url = "URL", path = "src", depth = 0 }) assert(#head == 40)',
    "git.rev_parse": 'assert(git.rev_parse({ ref = "HEAD", path = "src" }) == head)',
    "git.describe": 'assert(git.describe({ path = "src" }) == "v1.2.0-1-g" .. head:sub(1, 7))',
    "git.log": 'assert(git.log({ count = 1, path = "src" })[1].subject == "second")',
    "git.changed_files": 'local files = git.changed_files({ base = "v1.2.0", path = "src" }) assert(files[1] == "b.txt" and #files == 1)',
    "git.checkout": 'git.checkout({ ref = "v1.2.0", path = "src" }) assert(not fs.exists("src/b.txt"))',
    "fs.mkdir": 'fs.mkdir("d") fs.mkdir("e/f")',
    "fs.write": 'fs.write("d/a.txt", "one\\n")',
    "fs.append": 'fs.append("d/a.txt", "two\\n")',
    "fs.read": 'assert(fs.read("d/a.txt") == "one\\ntwo\\n" and not pcall(fs.read, "../x"))',
    "fs.exists": 'assert(fs.exists("d") and not fs.exists("none"))',
    "fs.copy": 'fs.copy("d/a.txt", "e/f/a.txt")',
    "fs.move": 'fs.move("e/f/a.txt", "e/b.txt") assert(not fs.exists("e/f/a.txt"))',
    "fs.list": 'local names = fs.list("e") assert(#names == 2 and names[1] == "b.txt" and names[2] == "f")',
    "fs.glob": 'local found = fs.glob("*/*.txt") assert(found[1] == "d/a.txt" and found[2] == "e/b.txt")',
    "fs.stat": 'assert(fs.stat("e/b.txt").size == 8 and fs.stat("none") == nil)',
    "fs.remove": 'assert(fs.remove("e") and not fs.exists("e") and not fs.remove("e"))',
    "json.encode": 'assert(json.encode({ b = { 1, 2 }, a = true }) == \'{"a":true,"b":[1,2]}\')',
    "json.decode": 'assert(json.decode(\'{"a":[1,{"b":"c"}]}\').a[2].b == "c" and not pcall(json.decode, "{"))',
    "json.array": 'assert(json.encode(json.array()) == "[]" and json.encode({}) == "{}")',
    "json.null": 'assert(json.encode({ json.null }) == "[null]" and json.decode("[null]")[1] == json.null)',
    "base64.encode": 'assert(base64.encode("a\\0b") == "YQBi")',
    "base64.decode": 'assert(base64.decode("YQBi") == "a\\0b" and not pcall(base64.decode, "?"))',
    "hash.sha256": 'assert(hash.sha256("abc"):sub(1, 8) == "ba7816bf")',
    "hash.files": 'local one = hash.files("d/*") fs.append("d/a.txt", "x") assert(#one == 64 and hash.files({ "d/*" }) ~= one)',
    "time.now": 'assert(time.now() > 1700000000)',
    "time.iso": 'assert(time.iso(0) == "1970-01-01T00:00:00Z" and #time.iso() >= 20)',
    "time.sleep": 'local begun = time.now() time.sleep(0.05) assert(time.now() - begun >= 0.05)',
    "secrets.get": 'local s = secrets.get("CONTRACT") assert(tostring(s) == "***" and type(s) ~= "string") '
    'process.run({ command = "sh", args = { "-c", "[ ${#S} = 11 ]" }, env = { S = s .. "" } })',
    "artifacts.upload": 'artifacts.upload({ name = "texts", path = "d/*.txt" })',
    "artifacts.download": 'artifacts.download({ name = "texts", path = "got" }) assert(#fs.glob("got/**") > 0)',
    "cache.save": 'cache.save({ key = "contract-1", paths = { "d" } })',
    "cache.restore": 'fs.remove("d") local hit = cache.restore({ key = "contract-2", fallback = { "contract-" }, paths = { "d" } }) '
    'assert(hit == "contract-1" and fs.exists("d/a.txt"))',
    "report.junit": 'fs.write("j.xml", \'<testsuite><testcase name="a"/></testsuite>\') assert(report.junit({ path = "j.xml" }).passed == 1)',
    "report.coverage": 'fs.write("l.info", "SF:a\\nDA:1,1\\n") report.coverage({ path = "l.info" })',
    "semver.compare": 'assert(semver.compare("1.9.0", "1.10.0") == -1)',
    "semver.next": 'assert(semver.next({ version = "1.2.3", part = "minor" }) == "1.3.0")',
    "semver.tagged": 'assert(semver.tagged("src") == "1.2.0")',
}
"""In order: later ones use what earlier ones made. URL is a repository; `semver` is the plug-in of the examples."""

SAID = {
    "log.debug": ("debug", "said by debug n=1"),
    "log.info": ("info", "said by info"),
    "log.warn": ("warn", "said by warn"),
    "log.error": ("error", "said by error"),
    "log.group": ("group", "group: some"),
    "log.annotate": ("error", "a.py:3: said by annotate"),
    "print": ("info", "said by print\t1\tnil"),
}
"""What the log has of a row: level and text."""

_FLOW, _RUNS = "tests/system/test_system_flow.py::", "tests/system/test_system_runs.py::"
_KEPT = "tests/system/test_system_kept.py::test_what_stages_keep_is_there_for_people_and_for_the_next_run"
_HERE = "tests/system/test_system_contract.py::"
_COPIES = f"{_FLOW}test_members_of_a_group_each_have_a_copy_of_the_workspace_that_the_group_found"
_FINALLY = f"{_FLOW}test_finally_comes_last_whatever_happened_and_sees_the_workspace"
_WHOLE = f"{_HERE}test_the_fields_of_a_pipeline_hold"
_ALLOWED = f"{_FLOW}test_a_stage_that_never_passes_is_tried_as_often_as_it_says_and_may_be_allowed_to_fail"
_ENVIRONMENT = f"{_HERE}test_processes_begin_in_the_environment_that_the_page_tells"
_HTTP = "tests/system/test_system_http.py::test_a_stage_asks_a_server_and_tells_what_it_found"
_TRAVEL = "tests/system/test_system_travel.py::"

TESTS = {
    "pipeline.name": f"{_RUNS}test_the_seed_pipeline_passes_and_says_so_everywhere",
    "pipeline.slug": _WHOLE,
    "pipeline.description": _WHOLE,
    "pipeline.inputs": f"{_RUNS}test_outputs_and_inputs_travel",
    "pipeline.env": f"{_RUNS}test_outputs_and_inputs_travel",
    "pipeline.secrets": _WHOLE,
    "pipeline.queue": f"{_RUNS}test_a_run_that_no_runner_serves_says_so_and_how_to_start_one",
    "pipeline.permissions": f"{_RUNS}test_a_process_reaches_what_pipeline_and_operator_both_grant_and_nothing_else",
    "pipeline.limits": _WHOLE,
    "pipeline.isolation": _WHOLE,
    "pipeline.timeout": f"{_RUNS}test_a_run_ends_at_its_timeout",
    "pipeline.on_lost": "tests/system/test_system_kills.py::test_a_lost_stage_is_begun_again_where_the_pipeline_says_so",
    "pipeline.concurrency": f"{_FLOW}test_runs_of_one_group_never_overlap",
    "pipeline.stages": f"{_RUNS}test_stages_may_be_a_function_of_inputs",
    "pipeline.finally": _FINALLY,
    "stage.name": _COPIES,
    "stage.script": f"{_RUNS}test_a_users_failure_is_failed_and_says_where_and_why",
    "stage.when": f"{_FLOW}test_a_condition_is_asked_just_before_its_stage_and_says_what_it_read",
    "stage.needs": f"{_FLOW}test_stages_with_needs_begin_as_soon_as_those_have_passed",
    "stage.parallel": _COPIES,
    "stage.matrix": f"{_FLOW}test_a_matrix_may_be_a_function_of_what_earlier_stages_found",
    "stage.exclude": _COPIES,
    "stage.fail_fast": f"{_HERE}test_with_fail_fast_the_others_of_a_group_are_cancelled",
    "stage.max_parallel": f"{_HERE}test_no_more_of_a_group_run_at_once_than_max_parallel_says",
    "stage.keep": f"{_TRAVEL}test_members_of_a_matrix_run_on_both_runners_and_what_they_keep_comes_together",
    "stage.queue": f"{_HERE}test_a_stage_goes_to_the_queue_that_it_names",
    "stage.env": f"{_RUNS}test_outputs_and_inputs_travel",
    "stage.timeout": f"{_RUNS}test_a_stage_ends_at_its_timeout",
    "stage.retry": f"{_FLOW}test_each_retry_begins_with_the_workspace_that_the_stage_found",
    "stage.allow_failure": _ALLOWED,
    "stage.approval": f"{_FLOW}test_a_person_is_asked_and_answers",
    "stage.cache": _KEPT,
    "stage.artifacts": _KEPT,
    "http.get": _HTTP, "http.post": _HTTP, "http.put": _HTTP, "http.delete": _HTTP, "http.request": _HTTP,
    "output.list": _HTTP,
    "run.status": _FINALLY,
    "run.failed_stage": _FINALLY,
    "matrix.NAME": _COPIES,
    "pipeline.define": f"{_HERE}test_the_fields_of_a_pipeline_hold",
    "PATH": _ENVIRONMENT, "HOME": _ENVIRONMENT, "TMPDIR": _ENVIRONMENT, "LANG": _ENVIRONMENT,
    "CI": _ENVIRONMENT, "RIVET": _ENVIRONMENT, "RIVET_RUN_ID": _ENVIRONMENT, "RIVET_RUN_NUMBER": _ENVIRONMENT,
    "RIVET_STAGE": _ENVIRONMENT, "RIVET_PIPELINE": _ENVIRONMENT, "RIVET_PROJECT": _ENVIRONMENT,
    "RIVET_WORKSPACE": _ENVIRONMENT,
    "the workspace": _ENVIRONMENT, "the user": _ENVIRONMENT,
}  # fmt: skip
"""Which test shows that a row holds, where no script here does."""
