"""The main job through the real system: what a user sees of a run, from the first line to its end."""

import contextlib
import json
import re
import subprocess
import sys
import time

import psutil
import pytest

from .rivet_home import a_repository, git, wait_for

SEED = """
pipeline = {{
  name = "Example Pipeline",
  stages = {{
    {{
      name = "checkout",
      script = function()
        log.info("Cloning repository...")
        git.clone({{ url = "{url}", branch = "main" }})
      end
    }},
    {{
      name = "test",
      script = function()
        log.info("Running tests...")
        process.run({{ command = "pytest", args = {{"tests/"}} }})
      end
    }}
  }}
}}
"""

THREE = """
pipeline = { name = "Three", stages = {
  { name = "a", script = function() for i = 1, 5 do log.info("a" .. i) end end },
  { name = "b", script = function() for i = 1, 5 do log.info("b" .. i) end end },
  { name = "c", script = function() for i = 1, 5 do log.info("c" .. i) end end },
} }
"""


def one(script: str, name: str = "One", rest: str = "") -> str:
    return f'pipeline = {{ name = "{name}", {rest} stages = {{ {{ name = "s", script = function() {script} end }} }} }}'


@pytest.fixture
def repository(system):
    """A repository with a passing suite, beneath the folder that stages may clone from."""
    folder = system.folder / f"repo-{len(list(system.folder.iterdir()))}"
    return a_repository(folder, {"tests/test_it.py": "def test_it():\n    assert 1 + 1 == 2\n"})


def test_the_seed_pipeline_passes_and_says_so_everywhere(system, repository):
    file = system.file("seed", SEED.format(url=f"file://{repository}"))
    done = system.cli("run", file)
    assert done.returncode == 0, done.stdout + done.stderr
    for told in ("Cloning repository...", "Running tests...", "1 passed"):
        assert told in done.stdout
    shown = json.loads(system.cli("runs", "show", "example-pipeline#1", "--json").stdout)
    assert shown == system.run(shown["id"])
    assert [stage["status"] for stage in shown["stages"]] == ["passed", "passed"]
    rows = system.query("SELECT status FROM run WHERE id = %s", shown["id"])
    stages = system.query("SELECT key, status FROM stage WHERE run_id = %s ORDER BY ordinal", shown["id"])
    assert rows == [("passed",)]
    assert stages == [(stage["key"], stage["status"]) for stage in shown["stages"]]


def test_a_failing_test_fails_the_run_and_names_the_command(system, repository):
    (repository / "tests/test_it.py").write_text("def test_it():\n    assert False\n")
    git(repository, "commit", "-aqm", "break it")
    lua = SEED.format(url=f"file://{repository}").replace("Example Pipeline", "Failing Pipeline")
    done = system.cli("run", system.file("failing", lua))
    assert done.returncode == 1
    assert 'command "pytest tests/" ended with exit code 1' in done.stdout + done.stderr
    run = json.loads(system.cli("runs", "show", "failing-pipeline#1", "--json").stdout)
    assert [stage["status"] for stage in run["stages"]] == ["passed", "failed"]
    assert run["stages"][1]["attempts"][0]["exit_code"] == 1


def test_the_seed_pipeline_clones_over_http_from_an_address_that_the_operator_allows(system, repository, web):
    git(web.folder, "clone", "-q", "--bare", str(repository), "seed.git")
    git(web.folder / "seed.git", "update-server-info")
    lua = SEED.format(url=f"{web.url}/seed.git").replace("Example Pipeline", "Over HTTP")
    run = system.finish(system.submit("over-http", lua))
    assert run["status"] == "passed", system.lines(run["id"])
    assert any("1 passed" in line for line in system.lines(run["id"], "test"))


def test_a_process_reaches_what_pipeline_and_operator_both_grant_and_nothing_else(system, web):
    (web.folder / "page").write_text("the page\n")
    fetch = f'process.run{{command="curl", args={{"-sS", "-f", "{web.url}/page"}}}}'
    granted = f'permissions = {{ network = {{ "127.0.0.1:{web.port}" }} }},'
    with_grant = system.finish(system.submit("granted", one(fetch, "Granted", granted)))
    assert with_grant["status"] == "passed", system.lines(with_grant["id"])
    assert "the page" in system.lines(with_grant["id"])
    without = system.finish(system.submit("ungranted", one(fetch, "Ungranted")))
    assert without["status"] == "failed"
    assert "the page" not in system.lines(without["id"])


def test_a_failed_stage_leaves_those_behind_it_skipped(system):
    lua = """pipeline = { name = "Skips", stages = {
      { name = "a", script = function() error("no") end },
      { name = "b", script = function() log.info("never") end } } }"""
    run = system.finish(system.submit("skips", lua))
    assert run["status"] == "failed"
    assert [(s["status"], s["reason"]) for s in run["stages"]] == [
        ("failed", None), ("skipped", "earlier_failure"),
    ]
    assert system.lines(run["id"], "b") == []


def unfinished_jobs(system, last_stage: str) -> int:
    """How many jobs the runner holds by now whose last stage has not ended, as its own folders say."""
    held = 0
    for folder in (system.folder / "home/runners").glob("*/jobs/*-*"):
        with contextlib.suppress(OSError):
            if not list(folder.glob("order.*.json")):
                continue
            marks = folder / "marks.1"
            told = marks.read_text() if marks.exists() else ""
            ended = f'"mark": "end", "stage": "{last_stage}"' in told
            held += folder.exists() and not ended
    return held


@pytest.mark.timeout(300)
def test_two_hundred_runs_at_once_each_run_once_and_in_order(system):
    ids = system.submit_at_once("three", THREE, 200)
    assert len(set(ids)) == 200
    most = 0
    while system.query("SELECT count(*) FROM run WHERE id = ANY(%s::uuid[]) AND ended_at IS NULL", ids) != [(0,)]:
        most = max(most, unfinished_jobs(system, last_stage="c"))
        time.sleep(0.05)
    for run_id in ids:
        assert system.finish(run_id)["status"] == "passed"
    expected = [f"{stage}{number}" for stage in "abc" for number in range(1, 6)]
    for run_id in ids:
        assert system.lines(run_id) == expected
    attempts = system.query(
        "SELECT count(*) FROM attempt JOIN stage ON stage.id = attempt.stage_id WHERE stage.run_id = ANY(%s::uuid[])",
        ids,
    )
    assert attempts == [(600,)]
    assert 0 < most <= system.slots + 1


def test_the_events_tell_the_whole_run_once_and_resume_anywhere(system):
    run_id = system.submit("three", THREE)
    whole = [(event.id, event.type) for event in system.events(run_id)]
    assert whole[-1][1] == "end"
    positions = [int(position) for position, _ in whole]
    assert positions == sorted(set(positions))
    middle = whole[len(whole) // 2][0]
    rest = [(event.id, event.type) for event in system.client.events(run_id, middle)]
    assert rest == whole[len(whole) // 2 + 1 :]
    end = next(event for event in system.events(run_id) if event.type == "end")
    assert end.data["lines"] == 15


def test_a_queued_and_a_running_run_can_be_cancelled(system):
    lua = one('log.info("begun") process.run{command="sleep", args={"60.173"}}', "Sleeps")
    first, second, third = (system.submit("sleeps", lua) for _ in range(3))
    system.when(first, lambda run: run["stages"][0]["status"] == "running")
    for run_id in (third, second, first):
        done = system.cli("runs", "cancel", run_id)
        assert done.returncode == 0, done.stderr
    for run_id in (first, second, third):
        run = system.finish(run_id, within_s=10)
        assert (run["status"], run["reason"]) == ("cancelled", "cancelled_by")
    assert not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "60.173"]]


def test_one_stage_can_be_cancelled_while_it_runs_and_while_it_waits(system):
    lua = """pipeline = { name = "Three sleeps", stages = {
      { name = "a", script = function() process.run{command="sleep", args={"63"}} end },
      { name = "b", script = function() log.info("b ran") end },
      { name = "c", script = function() log.info("c ran") end } } }"""
    first, second = system.submit("three-sleeps", lua), system.submit("three-sleeps", lua)
    for run_id, stage in ((first, "a"), (second, "b")):
        system.when(run_id, lambda run: run["stages"][0]["status"] == "running")
        done = system.cli("runs", "cancel", run_id, "--stage", stage)
        assert (done.returncode, f"stage {stage} of" in done.stdout) == (0, True), done.stderr + done.stdout
    run = system.finish(first, within_s=5)
    assert (run["status"], run["reason"], run["cancelled_by"]) == ("cancelled", "cancelled_by", "local admin")
    assert [stage["status"] for stage in run["stages"]] == ["cancelled", "skipped", "skipped"]
    system.client.call("POST", f"/runs/{second}/cancel", {"stage": "a"})
    run = system.finish(second, within_s=5)
    assert [stage["status"] for stage in run["stages"]] == ["cancelled", "skipped", "skipped"]
    assert [stage["cancelled_by"] for stage in run["stages"]] == ["local admin", "local admin", None]


def test_a_script_that_spins_can_be_cancelled(system):
    run_id = system.submit("spins", one('log.info("begun") while true do end', "Spins"))
    system.when(run_id, lambda run: run["stages"][0]["status"] == "running")
    system.client.call("POST", f"/runs/{run_id}/cancel", {})
    assert system.finish(run_id, within_s=5)["status"] == "cancelled"


def test_a_process_that_does_not_listen_is_killed_after_its_grace(system):
    lua = one("process.run{command='sh', args={'-c', 'trap \"\" TERM; echo ready; sleep 61; sleep 62'}}", "Deaf")
    run_id = system.submit("deaf", lua)
    wait_for(lambda: "ready" in system.lines(run_id), 20)
    system.client.call("POST", f"/runs/{run_id}/cancel", {})
    assert system.finish(run_id, within_s=20)["status"] == "cancelled"
    left = [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] in (["sleep", "61"], ["sleep", "62"])]
    assert not left


def test_what_a_command_leaves_running_is_not_waited_for_and_ends_with_its_stage(system):
    lua = one("process.run{command='sh', args={'-c', 'setsid sleep 73 & echo left'}}", "Leaves")
    run = system.finish(system.submit("leaves", lua), within_s=15)
    assert run["status"] == "passed"
    assert system.lines(run["id"]) == ["left"]
    wait_for(lambda: not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "73"]], 3)


def test_a_stage_ends_at_its_timeout(system):
    lua = 'pipeline = { name = "Late", stages = { { name = "s", timeout = "1s", script = function() ' \
        'process.run{command="sleep", args={"60"}} end } } }'
    run = system.finish(system.submit("late", lua), within_s=15)
    assert (run["status"], run["reason"]) == ("timed_out", "limit_stage_time")


def test_a_run_ends_at_its_timeout(system):
    run = system.finish(system.submit("late-run", one("while true do end", "Late Run", 'timeout = "1s",')), within_s=15)
    assert (run["status"], run["reason"]) == ("timed_out", "limit_run_time")


@pytest.mark.parametrize(
    ("script", "reason", "told"),
    [
        ("local t = {} while true do t[#t+1] = string.rep('x', 100000) end", "limit_memory", "memory"),
        ("nothing.at.all()", None, "rivet.lua:1"),
        ("error({})", None, "rivet.lua:1"),
        ("process.run{command='no-such-thing'}", None, "no-such-thing"),
        ("process.run{comand='x'}", None, 'did you mean "command"'),
        ("git.clone{url='file:///etc'}", None, "RIVET_ALLOW_PATHS"),
        ("git.clone{url='http://127.0.0.1:9/x.git'}", None, "RIVET_ALLOW_HOSTS"),
    ],
)
def test_a_users_failure_is_failed_and_says_where_and_why(system, script, reason, told):
    slug = f"fails-{abs(hash(script)) % 10**6}"
    run = system.finish(system.submit(slug, one(script, slug)), within_s=90)
    assert (run["status"], run["stages"][0]["reason"]) == ("failed", reason)
    assert told in "\n".join(system.lines(run["id"]))


def test_check_false_gives_the_result_and_capture_the_output(system):
    script = """local r = process.run{command="sh", args={"-c", "echo out; echo err >&2; exit 3"}, check=false, capture=true}
      log.info(r.exit_code .. "|" .. r.stdout .. "|" .. r.stderr)"""
    run = system.finish(system.submit("captures", one(script, "Captures")))
    assert run["status"] == "passed"
    assert "3|out" in system.lines(run["id"])


def test_any_bytes_come_through_the_log_and_back(system):
    script = r"""process.run{command="printf", args={"\\033[31mred\\377\\n"}}"""
    run = system.finish(system.submit("bytes", one(script, "Bytes")))
    assert "\x1b" not in "".join(system.lines(run["id"]))
    raw = b"".join(system.client.lines(f"/runs/{run['id']}/logs?raw=1"))
    assert b"\x1b[31mred\xff" in raw


def test_stages_see_nothing_of_the_runner(system):
    script = """process.run{command="sh", args={"-c",
      "env; cat /proc/1/environ; ls -a /root /home; cat /proc/self/status | grep Uid; id -u; ls /proc | grep -c '^[0-9]'"}, check=false}"""
    run = system.finish(system.submit("looks", one(script, "Looks")))
    told = "\n".join(system.lines(run["id"]))
    for secret in ("RIVET_TOKEN", "RIVET_DATABASE_URL", "RIVET_BROKER_URL", "RIVET_SECRET_KEY", system.token()):
        assert secret not in told
    assert not re.search(r"^Uid:\s+0", told, re.MULTILINE)


def test_outputs_and_inputs_travel(system):
    lua = """pipeline = { name = "Travels", inputs = { count = { type = "number", required = true },
        who = { type = "string", default = "world" } }, env = { GREETING = "hello" }, stages = {
      { name = "a", script = function() output.set("list", { 1, 2, input.get("count") }) end },
      { name = "b", env = { MORE = 7 }, script = function()
          local list = output.require("list")
          log.info(#list .. " " .. list[3] .. " " .. env.get("GREETING") .. " " .. env.get("who") .. " " .. env.get("MORE"))
          process.run{command="sh", args={"-c", "echo $GREETING $MORE $CI $RIVET_STAGE"}}
        end } } }"""
    run = system.finish(system.submit("travels", lua, count=3))
    assert run["status"] == "passed", system.lines(run["id"])
    assert system.lines(run["id"]) == ["3 3 hello world 7", "hello 7 true b"]


def test_stages_may_be_a_function_of_inputs(system):
    lua = """pipeline = { name = "Made", inputs = { n = { type = "number", default = 2 } }, stages = function()
      local made = {}
      for i = 1, input.get("n") do made[i] = { name = "s" .. i, env = { RUN = run.id, BY = run.actor }, script = function() log.info("stage " .. i .. " of #" .. run.number) end } end
      return made end }"""
    run = system.finish(system.submit("made", lua, n=3))
    assert [stage["name"] for stage in run["stages"]] == ["s1", "s2", "s3"]
    assert system.lines(run["id"]) == [f"stage {i} of #1" for i in (1, 2, 3)]


def test_flower_lists_the_tasks_of_a_run_on_the_runners_own_queue(system):
    run = system.finish(system.submit("three", THREE))
    job = system.query("SELECT id, runner FROM job WHERE run_id = %s", run["id"])[0]
    password = (system.folder / "home/keys/flower_password").read_text().strip()
    from base64 import b64encode
    from urllib.request import Request, urlopen

    basic = b64encode(f"rivet:{password}".encode()).decode()

    def told():
        request = Request(
            f"{system.status()['flower_url']}/api/task/info/s:{job[0]}:1:a",
            headers={"Authorization": f"Basic {basic}"},
        )
        try:
            return json.loads(urlopen(request, timeout=10).read())
        except OSError:
            return {}

    wait_for(lambda: told().get("state") == "SUCCESS", 20, lambda: json.dumps(told()))
    assert told()["routing_key"] == f"own:{job[1]}"
    assert "passed" in told()["result"]


def test_a_plain_celery_worker_is_a_runner(make_home, system):
    """The way of any Celery user, on a queue of its own: each pipeline's stages only on its own queue."""


    made = system.client.call("POST", "/runners/tokens", {"name": "gpu", "queues": ["gpu"]})
    env = system.env() | {
        "RIVET_URL": system.status()["url"],
        "RIVET_TOKEN": made["token"],
        "RIVET_BROKER_URL": system.told("runner")["RIVET_BROKER_URL"],
        "RIVET_RUNNER_NAME": "gpu-runner",
        "RIVET_HOME": str(system.folder / "gpu"),
    }
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "rivet.tasks", "worker", "-Q", "q:gpu", "-c", "1", "-n", "gpu@%h"],
        env=env, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT,
    )
    try:
        lua = one('log.info("on gpu")', "On Gpu", 'queue = "gpu",')
        on_gpu = [system.finish(system.submit("on-gpu", lua)) for _ in range(3)]
        elsewhere = [system.finish(system.submit("three", THREE)) for _ in range(3)]
    finally:
        worker.terminate()
        worker.wait(20)
    assert {stage["runner"] for run in on_gpu for stage in run["stages"]} == {"gpu-runner"}
    assert all(stage["runner"] != "gpu-runner" for run in elsewhere for stage in run["stages"])


def test_a_run_that_no_runner_serves_says_so_and_how_to_start_one(system):
    run_id = system.submit("lonely", one("", "Lonely", 'queue = "nobody",'))
    run = system.when(run_id, lambda run: run["reason"] == "no_runner", within_s=15)
    assert run["waiting_since"] is not None
    shown = system.cli("runs", "show", "lonely#1").stdout
    assert "rivet runner start --queue nobody" in shown
    system.cli("runs", "cancel", "lonely#1")
    assert "cancelled_by local admin" in system.cli("runs", "show", "lonely#1").stdout
