"""A lease ahead of its journal, or over when the journal is in or the run is being cancelled, spoils no end."""

import pytest

from rivet.domain.ids import StageKey
from rivet.domain.record import RecordType
from rivet.domain.states import JobStatus, OnLost, RunnerStatus, RunStatus
from rivet.engine.cancel_run import cancel_run
from rivet.engine.renew_lease import renew_lease
from rivet.engine.settle_job import settle_job
from rivet.engine.watch_leases import watch_leases

from .conftest import LEASE_S, Heard


def test_a_later_stage_begins_by_its_lease_only_when_those_before_it_have_ended(running):
    system = running("one", "two")
    job = system.store.job()
    renew_lease(job.id, job.epoch, job.session, (StageKey("two"), 1), store=system.store)
    assert system.store.stage_states() == ["pending", "pending"]
    system.perform("one")
    renew_lease(job.id, job.epoch, job.session, (StageKey("two"), 1), store=system.store)
    assert system.store.stage_states() == ["passed", "running"]
    system.perform("two")
    system.done()
    settle_job(job.id, job.epoch, store=system.store)
    assert system.store.run().status is RunStatus.PASSED


def test_a_job_whose_journal_is_all_in_is_settled_though_its_runner_is_gone(running):
    system = running("one")
    job = system.store.job()
    system.perform("one", "timed_out", reason="limit_stage_time")
    system.done()
    system.store.pass_time(LEASE_S + 1)
    assert watch_leases(LEASE_S, store=system.store, signs=Heard()) == 0
    settle_job(job.id, job.epoch, store=system.store)
    assert system.store.job().status is JobStatus.TIMED_OUT
    assert (system.store.run().status, system.store.run().reason) == (RunStatus.TIMED_OUT, "limit_stage_time")


def test_a_runner_that_says_that_no_api_answers_it_is_not_judged(running):
    system = running("one")
    system.store.pass_time(LEASE_S + 1)
    assert watch_leases(LEASE_S, store=system.store, signs=Heard("runner")) == 0
    assert system.store.world.runners["runner"].status is RunnerStatus.ONLINE
    assert system.store.job().status is JobStatus.RUNNING
    assert watch_leases(LEASE_S, store=system.store, signs=Heard("another")) == 1
    assert system.store.world.runners["runner"].status is RunnerStatus.LOST


def test_a_run_that_loses_its_runner_while_it_is_cancelled_ends_cancelled(running):
    system = running("one", "two")
    job = system.store.job()
    system.ingest(system.record(RecordType.ATTEMPT_STARTED, "one"))
    cancel_run(job.run_id, "bob", store=system.store)
    system.store.pass_time(LEASE_S + 1)
    assert watch_leases(LEASE_S, store=system.store, signs=Heard()) == 1
    assert system.store.stage_states() == ["cancelled", "cancelled"]
    assert [attempt.status for attempt in system.store.world.attempts.values()] == ["lost"]
    run = system.store.run()
    assert (run.status, run.reason, run.cancelled_by) == (RunStatus.CANCELLED, "cancelled_by", "bob")


@pytest.mark.parametrize(
    ("on_lost", "job_is", "stages_are"),
    [
        (OnLost.ERROR, JobStatus.ERRORED, ["errored", "skipped"]),
        (OnLost.RESTART, JobStatus.QUEUED, ["pending", "pending"]),
    ],
)
def test_what_has_begun_and_never_reached_the_journal_is_not_done_again_as_the_same_attempt(
    running, on_lost, job_is, stages_are
):
    """Two stages had their effects, and the runner dies with its journal: the next attempts are the second ones."""
    system = running("one", "two", on_lost=on_lost)
    job = system.store.job()
    for stage in ("one", "two"):
        answer = renew_lease(job.id, job.epoch, job.session, (StageKey(stage), 1), store=system.store)
        assert answer.state == "ok"
    system.store.pass_time(LEASE_S + 1)
    assert watch_leases(LEASE_S, store=system.store, signs=Heard()) == 1
    assert system.store.job().status is job_is
    assert system.store.stage_states() == stages_are
    tried = {(key.stage_id, key.number): key.status for key in system.store.world.attempts.values()}
    assert list(tried.values()) == ["lost", "lost"]
    if on_lost is OnLost.RESTART:
        order = system.claim(system.register("runner"))
        assert [stage.next_attempt for stage in order.stages] == [2, 2]
