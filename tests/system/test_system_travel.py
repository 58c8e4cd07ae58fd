"""Workspaces and kept files between two runners, through the real system."""

import pytest

from .second_runner import second_runner, stop
from .test_system_flow import pipeline, sh, stage, states


@pytest.fixture(scope="module")
def two(make_home):
    """A system with a second runner, which serves `gpu` besides `default`."""
    home = make_home(environment={"RIVET_SNAPSHOT_MIB": "1"})
    with second_runner(home, "default", "gpu") as process:
        home.second = process
        yield home
    home.down()


def runners(run) -> dict[str, str]:
    return {each["key"]: each["runner"] for each in run["stages"]}


def test_members_of_a_matrix_run_on_both_runners_and_what_they_keep_comes_together(two):
    member = (
        "[ $(cat made) = first ] && [ -h link ] && [ -d empty ] && [ ! -e mine ] && [ $(stat -c %a made) = 750 ] "
        "&& touch mine && mkdir kept && echo $N > kept/$N && echo same > kept/all && sleep 0.5"
    )
    work = sh(member).replace("args=", "env={ N = matrix.n }, args=")
    lua = pipeline("Travels", ", ".join([
        stage("make", sh("echo first > made; chmod 750 made; mkdir empty; ln -s made link")),
        stage("each", work, "keep = { 'kept/**' }, matrix = { n = { 1, 2, 3, 4, 5, 6, 7, 8 } },"),
        stage("after", sh("cat kept/*; [ ! -e mine ] && cat made; rm kept/3")),
        stage("later", sh("ls kept | wc -l"), 'queue = "gpu",'),
    ]))  # fmt: skip
    run = two.finish(two.submit("travels", lua))
    assert run["status"] == "passed", (run["reason"], two.lines(run["id"]))
    # What Rivet itself says of uploads on a slow machine is longer.
    assert [line for line in two.lines(run["id"], "after") if len(line) < 6] == [*"12345678", "same", "first"]
    assert two.lines(run["id"], "later")[-1] == "8"
    where = runners(run)
    assert len({where[f"each.{n}"] for n in range(1, 9)}) == 2, where
    spans = [each["attempts"][0] for each in run["stages"] if each["key"].startswith("each")]
    at_once = [sum(one["started_at"] <= at["started_at"] < one["ended_at"] for one in spans) for at in spans]
    assert max(at_once) > 2, spans


def test_a_workspace_that_is_too_large_to_be_stored_stays_on_its_runner_and_the_log_says_so(two):
    lua = pipeline("Large", ", ".join([
        stage("make", sh("head -c 2000000 /dev/urandom > made")),
        stage("each", sh("ls"), "matrix = { n = { 1, 2, 3 } },"),
    ]))  # fmt: skip
    run = two.finish(two.submit("large", lua))
    assert run["status"] == "passed", (run["reason"], two.lines(run["id"]))
    assert two.lines(run["id"], "make") == [
        "workspace: all of it: has 1.9 MiB, the operator allows 1.0 MiB; "
        "what goes on from here can do so on this runner alone"
    ]
    assert len(set(runners(run).values())) == 1
    assert two.lines(run["id"], "each.3") == ["made"]


def test_two_members_that_keep_a_path_with_different_content_fail_the_group(two):
    lua = pipeline("Conflicts", ", ".join([
        f'{{ name = "g", parallel = {{ {stage("a", sh("echo 1 > x"), "keep = { [[x]] },")}, '
        f'{stage("b", sh("echo 2 > x"), "retry = 3, allow_failure = true, keep = { [[x]] },")} }} }}',
    ]))  # fmt: skip
    run = two.finish(two.submit("conflicts", lua))
    assert (run["status"], run["reason"]) == ("failed", "keep_conflict")
    (failed,) = [each for each in run["stages"] if each["status"] == "failed"]
    assert len(failed["attempts"]) == 1
    for word in ('"x"', '"a"', '"b"', "different content"):
        assert word in failed["attempts"][0]["error"]["message"]


def test_stages_with_needs_begin_with_what_those_keep(two):
    lua = pipeline("Needs", ", ".join([
        stage("a", sh("echo a > x; echo a > mine"), "needs = {}, keep = { [[x]] },"),
        stage("b", sh("echo b > y; mkdir d"), "needs = {}, keep = { [[y]], [[d]] },"),
        stage("c", sh("ls; cat x y"), "needs = { 'a', 'b' },"),
    ]))  # fmt: skip
    run = two.finish(two.submit("needs", lua))
    assert run["status"] == "passed", (run["reason"], two.lines(run["id"]))
    assert two.lines(run["id"], "c")[1:] == ["d", "x", "y", "a", "b"]


def test_a_stage_that_keeps_what_is_not_there_fails_and_says_so(two):
    lua = pipeline("Nothing", f'{{ name = "g", parallel = {{ {stage("a", "", "keep = { [[no/*]] },")} }} }}')
    run = two.finish(two.submit("nothing", lua))
    assert (run["status"], run["stages"][0]["attempts"][0]["error"]["message"]) == (
        "failed", 'keep: path: "no/*" matches nothing'
    )


def test_a_run_that_waited_for_a_person_goes_on_elsewhere_when_its_runner_is_gone(two):
    lua = pipeline("Waits", ", ".join([
        stage("a", sh("echo built > made"), 'queue = "gpu",'),
        '{ name = "ask", approval = { message = "Go?" } }',
        stage("b", sh("cat made")),
    ]))  # fmt: skip
    run_id = two.submit("waits", lua)
    run = two.when(run_id, lambda run: run["status"] == "waiting")
    assert any("stored for other runners: 1 file" in line for line in two.lines(run_id, "a"))
    stop(two.second)
    assert two.cli("runs", "approve", run_id).returncode == 0
    run = two.finish(run_id)
    assert (run["status"], states(run)["b"]) == ("passed", "passed"), (run["reason"], two.lines(run_id))
    assert two.lines(run_id, "b")[-1] == "built"
