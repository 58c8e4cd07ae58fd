"""Each part killed in the middle of a run: the run goes on or ends as `on_lost` says; no line is lost or doubled."""

from uuid import UUID

import psutil
import pytest
import redis
from celery import Celery

from rivet.dispatch import Dispatch, plain_queues, publish_chain
from rivet.domain.ids import Epoch, JobId, StageKey
from rivet.engine.ports import Queued

from .rivet_home import kill, wait_for

LINES = 60


def counting(name: str, on_lost: str = "error") -> str:
    """Three stages that count aloud; the second one for so long that a busy machine finds its middle too."""
    count = f'"i=1; while [ $i -le {LINES} ]; do echo $0-$i; i=$((i+1)); sleep $1; done"'
    stages = ", ".join(
        f'{{ name = "{stage}", script = function() '
        f'process.run{{command="sh", args={{"-c", {count}, "{stage}", "{step_s}"}}}} end }}'
        for stage, step_s in (("a", 0.03), ("b", 0.06), ("c", 0.01))
    )
    return f'pipeline = {{ name = "{name}", on_lost = "{on_lost}", stages = {{ {stages} }} }}'


def numbered(stage: str, count: int = LINES) -> list[str]:
    return [f"{stage}-{number}" for number in range(1, count + 1)]


def in_the_middle(home, run_id: str, stage: str = "b") -> None:
    """Wait until that stage is counting."""
    home.when(run_id, lambda run: {s["key"]: s["status"] for s in run["stages"]}[stage] == "running")
    wait_for(lambda: len(home.lines(run_id, stage)) >= 5, 20)


def attempts_of(run, stage: str) -> list[str]:
    return [a["status"] for s in run["stages"] if s["key"] == stage for a in s["attempts"]]


def check_whole(home, run) -> None:
    assert run["status"] == "passed", run
    for stage in "abc":
        assert home.lines(run["id"], stage) == numbered(stage)
        assert attempts_of(run, stage) == ["passed"]


def slot_at_work(home) -> int:
    """The slot whose children hold a room."""
    for slot in home.slots_of(home.pid("runner")):
        if any(child.name() == "rivet-agent" for child in slot.children(recursive=True)):
            return slot.pid
    raise AssertionError("no slot has a room open")


@pytest.mark.parametrize("part", ["control", "api", "redis", "postgresql"])
def test_a_run_goes_on_when_a_part_of_the_system_is_killed(fragile, part):
    run_id = fragile.submit("counts", counting("Counts"))
    in_the_middle(fragile, run_id)
    kill(fragile.pid(part))
    check_whole(fragile, fragile.finish(run_id, within_s=60))


def test_a_killed_slot_ends_the_run_errored_by_default(fragile):
    run_id = fragile.submit("counts", counting("Counts"))
    in_the_middle(fragile, run_id)
    kill(slot_at_work(fragile))
    run = fragile.finish(run_id, within_s=40)
    assert (run["status"], run["reason"]) == ("errored", "slot_lost")
    assert [attempts_of(run, stage) for stage in "abc"] == [["passed"], ["lost"], []]
    said = fragile.lines(run_id, "b")
    assert said == numbered("b", len(said))
    assert fragile.lines(run_id, "a") == numbered("a")


@pytest.mark.parametrize("whom", ["slot", "runner"])
def test_a_lost_stage_is_begun_again_where_the_pipeline_says_so(make_home, whom):
    """The lease is long enough for the runner to be back before it is judged: the workspace is with it."""
    home = make_home(environment={"RIVET_LEASE_SECONDS": "10"})
    run_id = home.submit("restarts", counting("Restarts", "restart"))
    in_the_middle(home, run_id)
    kill(slot_at_work(home) if whom == "slot" else home.pid("runner"))
    run = home.finish(run_id, within_s=60)
    assert run["status"] == "passed", run
    assert [attempts_of(run, stage) for stage in "abc"] == [["passed"], ["lost", "passed"], ["passed"]]
    said = home.lines(run_id, "b")
    first = len(said) - LINES
    assert said == numbered("b", first) + numbered("b")
    for stage in "ac":
        assert home.lines(run_id, stage) == numbered(stage)
    home.down()


def test_a_restart_whose_workspace_is_gone_with_its_runner_is_errored(fragile):
    run_id = fragile.submit("restarts", counting("Restarts", "restart"))
    in_the_middle(fragile, run_id)
    runner = psutil.Process(fragile.pid("runner"))
    for process in [runner, *runner.children()]:
        process.suspend()
    run = fragile.finish(run_id, within_s=40)
    assert (run["status"], run["reason"]) == ("errored", "workspace_lost")
    for process in [runner, *runner.children()]:
        process.resume()


def test_a_killed_runner_leaves_nothing_running_and_ends_the_run(fragile):
    run_id = fragile.submit("counts", counting("Counts"))
    in_the_middle(fragile, run_id)
    of_runner = psutil.Process(fragile.pid("runner")).children(recursive=True)
    kill(fragile.pid("runner"))
    wait_for(lambda: not any(p.is_running() and p.status() != "zombie" for p in of_runner), 3,
             lambda: str([p.cmdline() for p in of_runner if p.is_running()]))
    run = fragile.finish(run_id, within_s=40)
    assert run["status"] == "errored"
    assert run["reason"] in ("slot_lost", "runner_lost")
    assert fragile.lines(run_id, "a") == numbered("a")


def test_a_frozen_runner_is_noticed_and_what_it_says_late_changes_nothing(fragile):
    run_id = fragile.submit("counts", counting("Counts"))
    in_the_middle(fragile, run_id)
    frozen = [psutil.Process(fragile.pid("runner"))]
    frozen += [p for p in frozen[0].children() if p.is_running()]
    for process in frozen:
        process.suspend()
    run = fragile.finish(run_id, within_s=40)
    assert (run["status"], run["reason"]) == ("errored", "runner_lost")
    for process in reversed(frozen):
        process.resume()
    again = fragile.finish(fragile.submit("counts", counting("Counts")), within_s=60)
    check_whole(fragile, again)
    assert fragile.run(run_id)["status"] == "errored"


def test_messages_that_come_twice_matter_once(fragile):
    """Everything of a running job is published again, as upkeep and first help may do at any time."""
    url = fragile.told("control")["RIVET_BROKER_URL"]
    run_id = fragile.submit("counts", counting("Counts"))
    in_the_middle(fragile, run_id, "a")
    job, runner = fragile.query("SELECT id, runner FROM job WHERE run_id = %s", run_id)[0]
    app = Celery("again", broker=url, set_as_current=False)
    plain_queues(app)
    stages = [(StageKey(key), key) for key in "abc"]
    for _ in range(2):
        Dispatch(url).publish(Queued(JobId(UUID(job)), Epoch(1), "q:default"))
        publish_chain(app, JobId(UUID(job)), Epoch(1), stages, queue=f"own:{runner}", label="again")
    check_whole(fragile, fragile.finish(run_id, within_s=60))


def test_queued_runs_survive_a_redis_that_forgets_everything(fragile):
    url = fragile.told("control")["RIVET_BROKER_URL"]
    ids = fragile.submit_at_once("counts", counting("Counts"), 4)
    in_the_middle(fragile, ids[0], "a")
    redis.Redis.from_url(url).flushall()
    for run_id in ids:
        check_whole(fragile, fragile.finish(run_id, within_s=90))


def test_a_drained_runner_finishes_its_job_and_takes_nothing_new(make_home):
    home = make_home(environment={"RIVET_LEASE_SECONDS": "4"}, slots=1)
    held = home.submit("counts", counting("Counts"))
    in_the_middle(home, held, "a")
    waiting = home.submit("counts", counting("Counts"))
    runner = psutil.Process(home.pid("runner"))
    name = home.client.call("GET", "/runners")["items"][0]["name"]
    assert home.cli("runner", "drain", name).returncode == 0
    check_whole(home, home.finish(held, within_s=40))
    wait_for(lambda: not runner.is_running() or runner.status() == "zombie", 15)
    check_whole(home, home.finish(waiting, within_s=60))
    home.down()
