"""Control flow through the real system: conditions, retries, groups, needs, `finally`, approvals."""

import itertools

import pytest

from .rivet_home import wait_for


def pipeline(name: str, stages: str, more: str = "") -> str:
    return f'pipeline = {{ name = "{name}", {more} stages = {{ {stages} }} }}'


def sh(text: str) -> str:
    return f"process.run{{command='sh', args={{'-c', [==[{text}]==]}}}}"


def stage(name: str, script: str, more: str = "") -> str:
    return f'{{ name = "{name}", {more} script = function() {script} end }}'


def states(run) -> dict[str, str]:
    return {stage["key"]: stage["status"] for stage in run["stages"]}


LATER = """
pipeline = { name = "Later", stages = {
  { name = "a", script = function() fs.write("made", "a") end },
  { name = "b", retry = { attempts = 2, delay = 10.5 }, when = function() return output.get("asked") == nil end,
    script = function()
      log.info("attempt " .. run.attempt .. " found " .. fs.read("made"))
      fs.write("made", "b")
      if run.attempt == 1 then error("not yet") end
    end },
  { name = "c", script = function() log.info(fs.read("made")) end },
} }
"""


@pytest.fixture(scope="module", autouse=True)
def later(system):
    """A run that is tried again after a while: it goes on beside the other tests."""
    return system.submit("later", LATER)


def test_members_of_a_group_each_have_a_copy_of_the_workspace_that_the_group_found(system):
    member = "[ $(cat made) = first ] && echo changed >> made && echo $(cat made) && [ ! -e mine ] && touch mine"
    lua = pipeline("Copies", ", ".join([
        stage("make", sh("echo first > made") + ' output.set("word", "handed on")'),
        f'{{ name = "sides", parallel = {{ {stage("left", sh(member))}, {stage("right", sh(member))} }} }}',
        stage("copies", sh("[ $(cat made) = first ] && [ ! -e mine ]") + ' log.info(matrix.n .. matrix.os)',
              'matrix = { os = { "a", "b" }, n = { 1, 2 } }, exclude = { { os = "b", n = 2 } },'),
        stage("after", sh("cat made; [ ! -e mine ]") + ' log.info(output.require("word"))'),
    ]))  # fmt: skip
    run = system.finish(system.submit("copies", lua))
    assert run["status"] == "passed", (run["reason"], system.lines(run["id"]))
    assert [stage["name"] for stage in run["stages"]] == [
        "make", "left", "right", "copies [n=1, os=a]", "copies [n=1, os=b]", "copies [n=2, os=a]", "after",
    ]
    assert system.lines(run["id"], "left") == system.lines(run["id"], "right") == ["first changed"]
    assert [system.lines(run["id"], f"copies.{n}") for n in (1, 2, 3)] == [["1a"], ["1b"], ["2a"]]
    assert system.lines(run["id"], "after") == ["first", "handed on"]


def test_a_condition_is_asked_just_before_its_stage_and_says_what_it_read(system):
    lua = pipeline("Asks", ", ".join([
        stage("a", 'output.set("go", true)'),
        stage("b", 'log.info("b ran")', 'when = function() return output.get("go") and input.get("deploy") end,'),
        stage("c", 'log.info("c ran")', 'when = function() return output.get("go") end,'),
        stage("d", "", 'when = function() return "yes" end,'),
    ]), 'inputs = { deploy = { type = "boolean", default = false } },')  # fmt: skip
    run = system.finish(system.submit("asks", lua))
    assert states(run) == {"a": "passed", "b": "skipped", "c": "passed", "d": "failed"}
    assert [stage["reason"] for stage in run["stages"]] == [None, "skipped_by_rule", None, None]
    assert 'expected true or false, given "yes"' in run["stages"][3]["attempts"][0]["error"]["message"]
    rows = system.query("SELECT data FROM record WHERE run_id = %s AND type = 'stage_skipped'", run["id"])
    assert rows[0][0]["values"] == {'output.get("go")': "true", 'input.get("deploy")': "false"}
    assert system.finish(system.submit("asks", lua, deploy=True))["stages"][1]["status"] == "passed"


def test_a_condition_may_do_nothing_but_read(system):
    lua = pipeline("Writes", stage("a", "", 'when = function() output.set("x", 1) return true end,'))
    run = system.finish(system.submit("writes", lua))
    assert states(run) == {"a": "failed"}
    assert "may read env, input, output and run alone" in run["stages"][0]["attempts"][0]["error"]["message"]


def test_each_retry_begins_with_the_workspace_that_the_stage_found(system):
    work = sh("[ ! -e left ] && cat made && touch left && echo more >> made") + " if run.attempt < 3 then error('no') end"
    lua = pipeline("Retries", ", ".join([
        stage("a", sh("echo made > made")),
        stage("b", work + ' output.set("by", run.attempt)', "retry = 3,"),
        stage("c", sh("cat made; ls") + ' log.info(output.get("by"))'),
    ]))  # fmt: skip
    run = system.finish(system.submit("retries", lua))
    assert run["status"] == "passed", system.lines(run["id"])
    assert [attempt["status"] for attempt in run["stages"][1]["attempts"]] == ["failed", "failed", "passed"]
    assert run["stages"][1]["reason"] == "passed_on_retry"
    assert system.lines(run["id"], "c") == ["made", "more", "left", "made", "3"]


def test_a_stage_that_never_passes_is_tried_as_often_as_it_says_and_may_be_allowed_to_fail(system):
    lua = pipeline("Never", ", ".join([
        stage("a", "process.run{command='sh', args={'-c', 'exit 7'}}", "retry = 2, allow_failure = { 7 },"),
        stage("b", "process.run{command='sh', args={'-c', 'exit 8'}}", "allow_failure = { 7 },"),
    ]))  # fmt: skip
    run = system.finish(system.submit("never", lua))
    assert (run["status"], states(run)) == ("failed", {"a": "warned", "b": "failed"})
    assert [attempt["exit_code"] for attempt in run["stages"][0]["attempts"]] == [7, 7]


def test_finally_comes_last_whatever_happened_and_sees_the_workspace(system):
    last = "finally = { " + stage("tidy", sh("cat made") + " log.info(run.status, { failed = run.failed_stage })") + " },"
    lua = pipeline("Tidies", stage("a", sh("echo made > made; exit 3")), last)
    run = system.finish(system.submit("tidies", lua))
    assert (run["status"], states(run)) == ("failed", {"a": "failed", "tidy": "passed"})
    assert system.lines(run["id"], "tidy") == ["made", "failed failed=a"]
    lua = pipeline("Sleeps last", stage("a", sh("echo made > made; echo it is; sleep 64")), last)
    run_id = system.submit("sleeps-last", lua)
    wait_for(lambda: system.lines(run_id, "a") == ["it is"], 20)
    system.client.call("POST", f"/runs/{run_id}/cancel", {})
    run = system.finish(run_id)
    assert (run["status"], states(run)) == ("cancelled", {"a": "cancelled", "tidy": "passed"})


def test_stages_with_needs_begin_as_soon_as_those_have_passed(system):
    lua = pipeline("Graph", ", ".join([
        stage("slow", sh("sleep 1.5"), "needs = {},"),
        stage("quick", 'output.set("x", "from quick")', "needs = {},"),
        stage("last", 'log.info(output.get("x"))', 'needs = { "quick" },'),
        stage("all", 'log.info("all")'),
    ]))  # fmt: skip
    run = system.finish(system.submit("graph", lua))
    assert run["status"] == "passed"
    at = {each["key"]: each["attempts"][0] for each in run["stages"]}
    assert at["last"]["ended_at"] < at["slow"]["ended_at"] < at["all"]["started_at"]
    assert system.lines(run["id"], "last") == ["from quick"]


def test_a_matrix_may_be_a_function_of_what_earlier_stages_found(system):
    lua = pipeline("Finds", ", ".join([
        stage("find", 'output.set("found", { "x", "y" })'),
        stage("each", "log.info(matrix.name)", """matrix = function()
            local rows = {}
            for _, name in ipairs(output.require("found")) do rows[#rows + 1] = { name = name } end
            return rows
        end,"""),
        stage("after", 'log.info("after")'),
    ]))  # fmt: skip
    run = system.finish(system.submit("finds", lua))
    assert (run["status"], list(states(run))) == ("passed", ["find", "each.1", "each.2", "after"])
    assert [system.lines(run["id"], f"each.{n}") for n in (1, 2)] == [["x"], ["y"]]


def test_runs_of_one_group_never_overlap(system):
    lua = pipeline("Turns", stage("a", "log.info('at work') " + sh("sleep 0.2")),
                   'concurrency = { group = function() return "deploy " .. run.pipeline end },')
    ids = system.submit_at_once("turns", lua, 5)
    runs = [system.finish(run_id) for run_id in ids]
    assert {run["status"] for run in runs} == {"passed"}
    spans = sorted((run["started_at"], run["ended_at"]) for run in runs)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans)), spans


def test_a_person_is_asked_and_answers(system):
    lua = pipeline("Asks somebody", ", ".join([
        stage("build", sh("echo built > made")),
        '{ name = "ask", approval = { message = "Deploy?", '
        'inputs = { where = { type = "string", options = { "here", "there" } } } } }',
        stage("deploy", sh("cat made") + ' log.info(output.require("where"))'),
    ]))  # fmt: skip
    run_id = system.submit("asks-somebody", lua)
    run = system.when(run_id, lambda run: run["status"] == "waiting")
    assert (run["reason"], run["stages"][1]["approval"]["message"]) == ("approval", "Deploy?")
    assert run["stages"][1]["waiting_since"] is not None
    refused = system.cli("runs", "approve", run_id, "-i", "where=nowhere")
    assert (refused.returncode, 'input "where"' in refused.stderr) == (2, True), refused.stderr
    done = system.cli("runs", "approve", run_id, "-i", "where=here")
    assert done.returncode == 0, done.stderr
    run = system.finish(run_id)
    assert (run["status"], run["stages"][1]["approved_by"]) == ("passed", "local admin")
    assert system.lines(run_id, "deploy") == ["built", "here"]
    followed = system.cli("runs", "logs", "--follow", run_id).stdout
    assert "  waiting ask: Deploy?\n    rivet runs approve asks-somebody#1 --stage ask " in followed
    assert "  approved ask by local admin\n" in followed
    other = system.submit("asks-somebody", lua)
    system.when(other, lambda run: run["status"] == "waiting")
    assert system.cli("runs", "reject", other, "--reason", "no").returncode == 0
    run = system.finish(other)
    assert (run["status"], run["reason"], states(run)["deploy"]) == ("failed", "rejected", "skipped")


def test_a_retry_after_a_long_delay_holds_no_slot_and_finds_the_workspace_as_its_stage_did(system, later):
    run = system.finish(later)
    assert states(run) == {"a": "passed", "b": "passed", "c": "passed"}
    assert system.lines(later, "b")[0] == "attempt 1 found a"
    assert system.lines(later, "b")[-1] == "attempt 2 found a"
    assert system.lines(later, "c") == ["b"]
    rows = system.query("SELECT epoch FROM job WHERE run_id = %s", later)
    assert rows == [(2,)]
