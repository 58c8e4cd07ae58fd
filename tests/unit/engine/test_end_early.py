"""What ends before its time: one stage that is cancelled, time that is over, a runner that is gone for good."""

from dataclasses import replace

import pytest

from rivet.domain.errors import NotFound
from rivet.domain.ids import StageKey
from rivet.domain.record import RecordType, pack, stand_in, unpack
from rivet.domain.states import JobStatus, OnLost, RunnerStatus, RunStatus
from rivet.engine.cancel_stage import cancel_stage
from rivet.engine.ingest_records import ingest_records
from rivet.engine.let_go_of_runners import let_go_of_runners
from rivet.engine.renew_lease import renew_lease
from rivet.engine.settle_job import settle_job
from rivet.engine.watch_leases import watch_leases
from rivet.engine.watch_times import GRACE_S, watch_times

from .conftest import LEASE_S, Heard, System


def cancel(system: System, stage: str, actor: str = "bob") -> None:
    cancel_stage(system.store.run().id, stage, actor, store=system.store)


def settle(system: System) -> None:
    job = system.store.job()
    settle_job(job.id, job.epoch, store=system.store)


def test_the_only_stage_of_a_queued_run_takes_the_run_with_it(system):
    system.start("one", "two")
    cancel(system, "one")
    assert system.store.stage_states() == ["cancelled", "skipped"]
    assert system.store.job().status is JobStatus.CANCELLED
    run = system.store.run()
    assert (run.status, run.reason) == (RunStatus.CANCELLED, "cancelled_by")


def test_a_later_stage_of_a_queued_run_is_cancelled_and_the_earlier_ones_run(system):
    system.start("one", "two", "three")
    cancel(system, "two")
    assert system.store.stage_states() == ["pending", "cancelled", "skipped"]
    system.claim(system.register())
    system.perform("one")
    system.done()
    settle(system)
    run = system.store.run()
    assert (run.status, run.cancelled_by) == (RunStatus.CANCELLED, "bob")
    assert system.store.stage_states() == ["passed", "cancelled", "skipped"]


def test_the_holder_of_a_running_stage_is_told_that_it_alone_is_cancelled(running):
    system = running("one", "two")
    job = system.store.job()
    cancel(system, "one")
    assert system.store.world.cancelled == [(job.id, "one")]
    answer = renew_lease(job.id, job.epoch, job.session, (StageKey("one"), 1), store=system.store)
    assert (answer.state, answer.scope) == ("cancelled", "stage")
    system.ingest(system.record(RecordType.ATTEMPT_STARTED, "one"))
    system.ingest(system.record(RecordType.ATTEMPT_ENDED, "one", status="cancelled", reason="cancelled_by"))
    system.ingest(system.record(RecordType.STAGE_SKIPPED, "two", reason="earlier_failure"))
    system.done()
    settle(system)
    assert system.store.run().status is RunStatus.CANCELLED
    assert system.store.stage_states() == ["cancelled", "skipped"]


def test_cancelling_a_stage_twice_or_after_its_end_changes_nothing(running):
    system = running("one", "two")
    system.perform("one")
    cancel(system, "one")
    cancel(system, "two")
    cancel(system, "two", actor="carol")
    assert system.store.world.cancelled == [(system.store.job().id, "two")]
    assert [stage.cancelled_by for stage in system.store.world.stages.values()] == [None, "bob"]


def test_a_stage_that_there_is_not_is_named_with_those_that_there_are(system):
    system.start("one", "two")
    with pytest.raises(NotFound, match='no stage "three"; it has one, two'):
        cancel(system, "three")


def test_a_stage_whose_runner_does_not_stop_it_is_ended_by_control(running):
    system = running("one", "two")
    system.ingest(system.record(RecordType.ATTEMPT_STARTED, "one"))
    job = system.store.job()
    system.store.pass_time(3600 + GRACE_S + LEASE_S - 1)
    assert watch_times(LEASE_S, store=system.store) == 0
    system.store.pass_time(2)
    assert watch_times(LEASE_S, store=system.store) == 1
    assert system.store.stage_states() == ["timed_out", "skipped"]
    run = system.store.run()
    assert (run.status, run.reason) == (RunStatus.TIMED_OUT, "limit_stage_time")
    assert renew_lease(job.id, job.epoch, job.session, store=system.store).state == "fenced"
    assert watch_times(LEASE_S, store=system.store) == 0


class Queues:
    def __init__(self) -> None:
        self.deleted: list[str] = []

    def delete_queue(self, queue: str) -> None:
        self.deleted.append(queue)


def test_a_job_that_waits_for_a_runner_that_is_gone_has_lost_its_workspace(running):
    system = running("one", "two", on_lost=OnLost.RESTART)
    system.perform("one")
    system.ingest(system.record(RecordType.ATTEMPT_STARTED, "two"))
    system.ingest(system.record(RecordType.ATTEMPT_ENDED, "two", status="lost", reason="slot_lost"))
    system.done()
    settle(system)
    assert system.store.job().status is JobStatus.QUEUED
    queues = Queues()
    assert let_go_of_runners(LEASE_S, store=system.store, queues=queues) == 0
    system.store.pass_time(LEASE_S + 1)
    watch_leases(LEASE_S, store=system.store, signs=Heard())
    assert let_go_of_runners(LEASE_S, store=system.store, queues=queues) == 1
    assert queues.deleted == ["own:runner"]
    run = system.store.run()
    assert (run.status, run.reason) == (RunStatus.ERRORED, "workspace_lost")


def test_the_queue_of_a_runner_that_may_still_hold_something_is_kept(running):
    system = running("one")
    runner = system.store.world.runners["runner"]
    system.store.pass_time(LEASE_S + 1)
    system.store.world.runners["runner"] = replace(runner, status=RunnerStatus.LOST)
    queues = Queues()
    let_go_of_runners(LEASE_S, store=system.store, queues=queues)
    assert queues.deleted == []


def test_a_record_that_cannot_be_read_is_stood_in_for_and_holds_nothing_up(running):
    system = running("one")
    system.ingest(system.record(RecordType.ATTEMPT_STARTED, "one"))
    packed = pack(system.record(RecordType.LOG, "one", count=1)).replace(b'"type":"log"', b'"type":"new"')
    instead = stand_in(packed, "a type that is not known")
    assert instead is not None
    assert unpack(pack(instead)) == instead
    ingest_records("runner", [instead], store=system.store)
    system.ingest(system.record(RecordType.ATTEMPT_ENDED, "one", status="passed"))
    system.done()
    settle(system)
    assert system.store.run().status is RunStatus.PASSED
    assert "unreadable" in system.store.events()


@pytest.mark.parametrize("packed", [b"", b"\0\0\0\x09not json!", b"\0\0\0\x02{}", b"\xff\xff\xff\xff"])
def test_bytes_that_name_no_job_are_stood_in_for_by_nothing(packed):
    assert stand_in(packed, "why") is None
