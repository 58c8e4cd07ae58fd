"""Reruns through the real system: what failed, from a stage on, a single stage; here and on another runner."""

import json
import re

import pytest

from .rivet_home import RivetHome, wait_for
from .second_runner import SecondRunner
from .test_system_flow import pipeline, sh, stage, states

FIRST = "if run.number == 1 then error('not yet') end"


def rerun(home: RivetHome, run_id: str, *arguments: str):
    """The rerun when it has ended, asked for as a person does."""
    done = home.cli("runs", "rerun", run_id, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return home.finish(json.loads(done.stdout)["id"])


def graph(name: str, queue: str = "default") -> str:
    """A line of two stages, a matrix of which one copy fails in the first run, a stage with needs, a last one.

    The matrix is on the queue.
    """
    member = sh("mkdir kept && cp made kept/$N").replace("args=", "env={ N = matrix.n }, args=")
    return pipeline(name, ", ".join([
        stage("make", sh("echo first > made")),
        stage("more", sh("cat made; echo second >> made") + ' output.set("word", "said") run.summary("# of more")'
              ' log.annotate({ level = "warn", message = "odd", file = "made", line = 1 })'),
        stage("each", f"{member} if matrix.n == 2 then {FIRST} end",
              f"queue = '{queue}', keep = {{ 'kept/**' }}, matrix = {{ n = {{ 1, 2, 3 }} }},"),
        stage("needs", sh("cat kept/*; ls") + ' log.info(output.require("word"))', "needs = { 'each' },"),
        stage("last", sh("cat made; ls kept")),
    ]))  # fmt: skip


def test_what_failed_runs_again_with_all_that_the_rest_has_left(system):
    first = system.finish(system.submit("again", graph("Again")))
    assert (first["status"], states(first)["each.2"]) == ("failed", "failed"), system.lines(first["id"])
    again = rerun(system, first["id"], "--failed")
    assert again["status"] == "passed", (again["reason"], system.lines(again["id"]))
    assert again["rerun_of"] == first["id"]
    told = {each["key"]: (each["status"], each["reason"], len(each["attempts"])) for each in again["stages"]}
    for key in ("make", "more", "each.1", "each.3"):
        assert told[key] == ("passed", "from_run", 0)
    for key in ("each.2", "needs", "last"):
        assert told[key] == ("passed", None, 1)
    # What Rivet itself says of fetching kept files comes first.
    assert system.lines(again["id"], "needs")[1:] == [*["first", "second"] * 3, "kept", "said"]
    assert system.lines(again["id"], "last")[1:] == ["first", "second", "1", "2", "3"]
    more = ["first", "made:1: odd"]
    assert system.lines(again["id"], "more") == system.lines(first["id"], "more") == more
    logs = system.cli("runs", "logs", again["id"], "--stage", "more", "--follow")
    assert (logs.returncode, logs.stdout) == (0, "first\nmade:1: odd\n")
    said = [(one["stage"], one["from_run"]) for one in again["annotations"] + again["summary"]]
    assert said == [("more", first["id"])] * 2
    shown = system.cli("runs", "show", again["id"]).stdout
    for line in ("(from_run #1)", "made:1: warn: odd (from #1)", "Summary of more (from #1)"):
        assert line in shown


def test_a_whole_rerun_begins_from_nothing(system):
    first = system.finish(system.submit("whole", graph("Whole")))
    again = rerun(system, first["id"])
    assert again["status"] == "passed", (again["reason"], system.lines(again["id"]))
    assert all(len(each["attempts"]) == 1 and each["from_run"] is None for each in again["stages"])


LINE = pipeline("Line", ", ".join([
    stage("a", sh("echo by a > made; mkfifo pipe; ln made same; mkdir -m 700 d; echo x > d/x; chmod 500 d")),
    stage("b", sh("cat made; [ made -ef same ] && [ -p pipe ] && cat d/x; echo by b >> made; rm pipe")),
    stage("c", sh("cat made; echo by c > other; chmod 700 d; rm -rf d") + FIRST),
    stage("d", sh("cat made other")),
]))  # fmt: skip


def test_from_a_stage_on_its_workspace_is_exactly_as_it_found_it(system):
    first = system.finish(system.submit("line", LINE))
    assert states(first) == {"a": "passed", "b": "passed", "c": "failed", "d": "skipped"}, first
    plan = system.cli("runs", "rerun", "line#1", "--from", "b", "--plan")
    assert plan.returncode == 0, plan.stderr
    assert plan.stdout.splitlines()[0] == "again   b, c, d"
    assert "the workspace as b found it, on " in plan.stdout
    second = rerun(system, first["id"], "--from", "c")
    assert states(second) == dict.fromkeys("abcd", "passed")
    assert system.lines(second["id"], "d") == ["by a", "by b", "by c"]
    third = rerun(system, second["id"], "--from", "b")
    assert system.lines(third["id"], "b") == ["by a", "x"], (third["reason"], system.lines(third["id"]))
    assert [each["from_run"] and each["from_run"]["number"] for each in third["stages"]] == [1, None, None, None]
    fourth = rerun(system, third["id"], "--from", "d", "--file", system.file("line", LINE.replace("by c", "by x")))
    assert (fourth["version"], system.lines(fourth["id"])) == (None, ["by a", "by b", "by c"])


def test_an_empty_workspace_needs_nobody(system):
    lua = pipeline("Empty", f"{stage('a', '')}, {stage('b', sh('ls -A') + FIRST)}")
    first = system.finish(system.submit("empty", lua))
    planned = system.client.call("POST", f"/runs/{first['id']}/rerun/plan", {"from_stage": "b"})
    assert (planned["possible"], planned["sources"]) == (True, [])
    assert rerun(system, first["id"], "--from", "b")["status"] == "passed"


def test_a_stage_that_cannot_be_begun_with_is_refused_with_words(system):
    first = system.finish(system.submit("words", pipeline("Words", f"{stage('a', '')}, {stage('b', '')}")))
    for arguments, word in ((["--failed"], "nothing of it failed"), (["--from", "z"], 'no stage "z"')):
        done = system.cli("runs", "rerun", first["id"], *arguments)
        assert done.returncode == 2
        assert word in done.stderr


@pytest.fixture(scope="module")
def two(make_home):
    """A system whose own runner serves `default`, and a second one `gpu` besides."""
    home = make_home()
    home.second = SecondRunner(home, "default", "gpu")
    home.second.until_online()
    yield home
    home.second.end()  # by now it may be another one
    home.down()


def until_offline(two):
    """It says so when it ends: nobody has to miss it."""
    wait_for(lambda: re.search(r"second +offline", two.cli("runner", "list").stdout) is not None, 40)


def test_a_rerun_goes_to_the_runner_that_has_the_workspace_and_says_so_when_that_is_gone(two):
    lua = pipeline("Far", ", ".join([
        stage("a", sh("echo built > made")),
        stage("b", sh("cat made") + FIRST),
        stage("c", sh("cat made"), "needs = { 'b' },"),
    ]), 'queue = "gpu",')  # fmt: skip
    first = two.finish(two.submit("far", lua))
    again = rerun(two, first["id"], "--from", "b")
    assert (two.lines(again["id"], "b"), again["stages"][1]["runner"]) == (["built"], "second")
    two.second.end()
    until_offline(two)
    gone = two.cli("runs", "rerun", "far#1", "--from", "b")
    assert gone.returncode == 2
    assert "the runner second that has it is offline" in gone.stderr
    assert 'begin with "a"' in gone.stderr
    assert two.client.call("GET", "/runs?pipeline=far")["items"][0]["id"] == again["id"]
    two.second = SecondRunner(two, "default", "gpu")
    two.second.until_online()
    back = rerun(two, first["id"], "--from", "b")
    assert two.lines(back["id"], "b") == ["built"]


def test_every_rerun_of_a_run_on_two_runners_ends_as_a_run_that_had_not_failed(two):
    first = two.finish(two.submit("spread", graph("Spread", "gpu")))
    assert (first["status"], states(first)["each.2"]) == ("failed", "failed"), two.lines(first["id"])
    assert {one["runner"] for one in first["stages"] if one["key"].startswith("each")} == {"second"}
    failed = rerun(two, first["id"], "--failed")
    behind = rerun(two, failed["id"], "--from", "needs")
    members = rerun(two, failed["id"], "--from", "each")
    whole = rerun(two, first["id"])
    for again, ran in ((failed, {"each.2", "needs", "last"}), (behind, {"needs", "last"}),
                       (members, {"each.1", "each.2", "each.3", "needs", "last"}), (whole, set(states(first)))):  # fmt: skip
        assert again["status"] == "passed", (again["reason"], two.lines(again["id"]))
        assert {one["key"] for one in again["stages"] if one["attempts"]} == ran
        assert two.lines(again["id"], "needs")[-8:] == [*["first", "second"] * 3, "kept", "said"]
        assert two.lines(again["id"], "last")[-5:] == ["first", "second", "1", "2", "3"]


def test_what_was_stored_is_gone_on_from_by_another_runner(two):
    lua = pipeline("Moves", ", ".join([
        stage("make", sh("echo built > made"), 'queue = "gpu",'),
        stage("each", sh("cat made") + FIRST, "matrix = { n = { 1, 2 } },"),
    ]))  # fmt: skip
    first = two.finish(two.submit("moves", lua))
    two.second.end()
    until_offline(two)
    again = rerun(two, first["id"], "--failed")
    assert again["status"] == "passed", (again["reason"], two.lines(again["id"]))
    assert {each["runner"] for each in again["stages"][1:]} != {"second"}
    assert two.lines(again["id"], "each.2")[-1] == "built"
    two.second = SecondRunner(two, "default", "gpu")
    two.second.until_online()


def test_within_a_run_that_goes_on_a_stage_that_failed_is_begun_again(system):
    lua = pipeline("Within", ", ".join([
        stage("prepare", sh("echo found > made")),
        stage("check", sh("cat made; echo more >> made") + "if run.attempt == 1 then error('not yet') end"),
        stage("after", "", "needs = { 'check' },"),
        stage("long", "time.sleep(12)", "needs = {},"),
    ]))  # fmt: skip
    run_id = system.submit("within", lua)
    system.when(run_id, lambda run: states(run)["after"] == "skipped" and states(run)["long"] == "running")
    refused = system.cli("runs", "rerun", run_id, "--failed")
    assert (refused.returncode, "goes on" in refused.stderr) == (2, True)
    done = system.cli("runs", "rerun", run_id, "--stage", "check")
    assert done.returncode == 0, done.stderr
    run = system.finish(run_id)
    assert run["status"] == "passed", (run["reason"], system.lines(run_id))
    assert [each["status"] for each in run["stages"][1]["attempts"]] == ["failed", "passed"]
    assert [line for line in system.lines(run_id, "check") if line in ("found", "more")] == ["found", "found"]
    late = system.cli("runs", "rerun", run_id, "--stage", "check", "--json")
    assert json.loads(late.stdout)["rerun_of"] == run_id
