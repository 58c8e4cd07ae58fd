"""What becomes of a job whose slot or runner is lost, stage by stage; and of a turn that two take at once."""

from dataclasses import replace
from typing import Any

import pytest

from rivet.domain.record import Record, RecordType
from rivet.domain.retry import Retry
from rivet.domain.stage import Spec, is_begun_again
from rivet.domain.states import JobStatus, OnLost, Reason, RunnerStatus, RunStatus
from rivet.engine.cancel_run import cancel_run
from rivet.engine.ingest_records import ingest_records
from rivet.engine.lose_job import lose_job
from rivet.engine.settle_job import settle_job

from .test_flow import Flow, flow, stage

AGAIN = {"attempts": 3, "on": ["lost"]}


def lose(run: Flow, key: str, *, runner_lives: bool = True) -> None:
    job = run.job_of(key)
    with run.store.begin() as tx:
        lose_job(job, Reason.SLOT_LOST, runner_lives=runner_lives, tx=tx)


def records(run: Flow, key: str, *told: tuple[RecordType, str | None, dict[str, Any]]) -> None:
    """Claim the job of that stage, and say these of it: of first attempts alone."""
    order = run.claim(key)
    said = [
        Record(order.job, order.epoch, seq, "2030-01-01T00:00:00Z", type, of, None if of is None else 1, data)
        for seq, (type, of, data) in enumerate(told, 1)
    ]
    ingest_records("runner", said, store=run.store)


def passed(key: str) -> list[tuple[RecordType, str | None, dict[str, Any]]]:
    return [(RecordType.ATTEMPT_STARTED, key, {}), (RecordType.ATTEMPT_ENDED, key, {"status": "passed"})]


@pytest.mark.parametrize(
    ("on", "number", "on_lost", "again"),
    [
        (("failed",), 1, OnLost.ERROR, False),
        (("failed",), 3, OnLost.RESTART, True),
        (("failed", "lost"), 2, OnLost.ERROR, True),
        (("failed", "lost"), 3, OnLost.ERROR, False),
        (("failed", "lost"), 3, OnLost.RESTART, False),
    ],
)
def test_retry_goes_before_on_lost(on, number, on_lost, again):
    assert is_begun_again(Spec((), retry=Retry(3, on=on)), number, on_lost) is again


def test_a_stage_that_may_be_lost_is_begun_again_though_the_one_before_it_might_not_be():
    run = flow(stage("a"), stage("b", retry=AGAIN))
    records(run, "a", *passed("a"), (RecordType.ATTEMPT_STARTED, "b", {}))
    lose(run, "a")
    assert (run.states(), run.job_of("a").status) == ({"a": "passed", "b": "pending"}, JobStatus.QUEUED)


def test_a_stage_that_may_not_be_lost_ends_the_job_though_the_one_before_it_might_be():
    run = flow(stage("a", retry=AGAIN), stage("b"), stage("c"))
    records(run, "a", *passed("a"), (RecordType.ATTEMPT_STARTED, "b", {}))
    lose(run, "a")
    assert run.states() == {"a": "passed", "b": "errored", "c": "skipped"}
    assert run.run_status is RunStatus.ERRORED


def test_a_job_whose_stages_have_all_ended_ends_as_they_did_though_its_last_record_is_lost():
    run = flow(stage("a"), stage("b", queue="gpu"))
    records(run, "a", *passed("a"))
    lose(run, "a")
    assert (run.job_of("a").status, run.queued) == (JobStatus.PASSED, {"b"})


def test_a_job_lost_with_a_stage_that_is_begun_again_says_so_and_is_not_settled_as_ended():
    run = flow(stage("a", retry=AGAIN), stage("b"))
    records(
        run, "a", (RecordType.ATTEMPT_STARTED, "a", {}),
        (RecordType.ATTEMPT_ENDED, "a", {"status": "lost", "reason": "slot_lost"}),
        (RecordType.JOB_DONE, None, {"again": True}),
    )  # fmt: skip
    job = run.job_of("a")
    assert settle_job(job.id, job.epoch, store=run.store)
    assert (run.states(), run.job_of("a").status) == ({"a": "pending", "b": "pending"}, JobStatus.QUEUED)


LATER = {"attempts": 3, "delay": 60}


def a_retry_in_a_minute(*before: str) -> Flow:
    run = flow(*(stage(key) for key in before), stage("b", retry=LATER), stage("c"))
    told = [record for key in before for record in passed(key)]
    records(
        run, "b", *told, (RecordType.ATTEMPT_STARTED, "b", {}), (RecordType.ATTEMPT_ENDED, "b", {"status": "failed"}),
        (RecordType.JOB_DONE, None, {"again": True}),
    )  # fmt: skip
    settle_job(run.job_of("b").id, run.job_of("b").epoch, store=run.store)
    return run


def published(run: Flow) -> list[str]:
    with run.store.begin() as tx:
        return [queued.queue for queued in tx.outbox.unpublished("generation", 10)]


@pytest.mark.parametrize(("before", "queue"), [((), "q:default"), (("a",), "own:runner")])
def test_a_retry_after_a_long_delay_gives_the_slot_back_and_is_published_when_it_is_time(before, queue):
    run = a_retry_in_a_minute(*before)
    b = next(stage for stage in run.store.world.stages.values() if stage.key == "b")
    assert (b.status, b.reason, run.job_of("b").status) == ("pending", "retry_delay", JobStatus.QUEUED)
    run.store.pass_time(59)
    assert published(run) == []
    run.store.pass_time(2)
    assert published(run) == [queue]
    run.perform("b")
    assert (run.run_status, run.states()["c"]) == (RunStatus.PASSED, "passed")


def test_a_stage_that_waits_for_its_next_attempt_without_a_slot_is_cancelled_at_once():
    run = a_retry_in_a_minute("a")
    cancel_run(run.store.run().id, "bob", store=run.store)
    assert (run.run_status, run.states()["b"]) == (RunStatus.CANCELLED, "cancelled")


def test_a_workspace_that_is_gone_when_the_next_attempt_is_to_wait_for_it_ends_the_run():
    run = flow(stage("a"), stage("b", retry=LATER))
    records(
        run, "b", *passed("a"), (RecordType.ATTEMPT_STARTED, "b", {}),
        (RecordType.ATTEMPT_ENDED, "b", {"status": "failed"}), (RecordType.JOB_DONE, None, {"again": True}),
    )  # fmt: skip
    runner = run.store.world.runners["runner"]
    run.store.world.runners["runner"] = replace(runner, status=RunnerStatus.LOST)
    settle_job(run.job_of("b").id, run.job_of("b").epoch, store=run.store)
    assert (run.run_status, run.store.run().reason) == (RunStatus.ERRORED, Reason.WORKSPACE_LOST)


def test_a_turn_that_is_asked_for_twice_leaves_finally_its_own():
    run = flow(stage("a"), **{"finally": [stage("z")]})
    run.claim("a")
    for _ in range(2):
        cancel_run(run.store.run().id, "the next one", store=run.store, once=True)
    assert run.states()["z"] == "pending"
    cancel_run(run.store.run().id, "bob", store=run.store)
    assert run.states()["z"] == "cancelled"
