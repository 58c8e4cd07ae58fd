"""The way of a run through the engine: start, claim, ingest, settle, cancel, lose."""

from dataclasses import replace

import pytest

from rivet.domain.errors import Fenced, NotFound
from rivet.domain.ids import Epoch, RunId, SessionId, StageKey
from rivet.domain.job import MAX_EPOCHS
from rivet.domain.record import RecordType
from rivet.domain.states import JobStatus, OnLost, RunnerStatus, RunStatus
from rivet.engine.beat_runner import beat_runner
from rivet.engine.cancel_run import cancel_run
from rivet.engine.claim_job import claim_job
from rivet.engine.publish_queued import publish_queued
from rivet.engine.register_runner import Registration, register_runner
from rivet.engine.renew_lease import renew_lease
from rivet.engine.settle_job import settle_job
from rivet.engine.watch_leases import watch_leases

from .conftest import LEASE_S, Heard, Ids, PlainTickets, System
from .memory_store import a_token


def settle(system: System) -> None:
    job = system.store.job()
    settle_job(job.id, job.epoch, store=system.store)


def judge(system: System) -> int:
    return watch_leases(LEASE_S, store=system.store, signs=Heard())


def test_a_started_run_is_queued_with_one_job_in_its_first_epoch(system):
    system.start("one", "two")
    assert system.store.run().status is RunStatus.QUEUED
    assert (system.store.job().status, system.store.job().epoch) == (JobStatus.QUEUED, 1)
    assert [queue for queue, _ in system.store.world.outbox.values()] == ["q:default"]


def test_runs_of_a_pipeline_are_numbered_from_one(system):
    system.start()
    system.start()
    assert sorted(run.number for run in system.store.world.runs.values()) == [1, 2]


def test_a_job_whose_stages_all_passed_ends_its_run_passed(running):
    system = running("one", "two")
    system.perform("one")
    system.perform("two")
    system.done()
    settle(system)
    assert system.store.run().status is RunStatus.PASSED
    assert system.store.stage_states() == ["passed", "passed"]
    assert system.store.events()[-1] == "run_ended"


def test_a_job_is_not_settled_before_its_last_record_is_in(running):
    system = running("one")
    system.perform("one")
    settle(system)
    assert system.store.run().status is RunStatus.RUNNING


def test_settling_twice_changes_nothing(running):
    system = running("one")
    system.perform("one")
    system.done()
    settle(system)
    before = system.store.events()
    settle(system)
    assert system.store.events() == before


def test_a_failed_stage_fails_the_run_and_the_reason_of_those_behind_is_not_the_runs(running):
    system = running("one", "two")
    system.perform("one", "failed", exit_code=1, error={"message": "no"})
    system.ingest(system.record(RecordType.STAGE_SKIPPED, "two", reason="earlier_failure"))
    system.done()
    settle(system)
    assert (system.store.run().status, system.store.run().reason) == (RunStatus.FAILED, None)
    assert system.store.stage_states() == ["failed", "skipped"]


def test_the_same_session_gets_the_same_order_again_and_another_gets_none(system):
    system.start()
    session = system.register()
    first = system.claim(session)
    assert system.claim(session) == first
    other = system.register("other")
    with pytest.raises(Fenced):
        system.claim(other)


def test_a_claim_of_an_older_epoch_is_refused(system):
    system.start()
    session = system.register()
    job = system.store.job()
    with pytest.raises(Fenced):
        claim_job(
            job.id, session, Epoch(job.epoch + 1), 1, a_token(), store=system.store, tickets=PlainTickets()
        )


def test_records_that_come_twice_are_ingested_once(running):
    system = running("one")
    started = system.record(RecordType.ATTEMPT_STARTED, "one")
    line = system.record(RecordType.LOG, "one", count=3)
    system.ingest(started, line)
    system.ingest(started, line)
    assert system.store.run().lines == 3
    assert system.store.job().ingested_seq == 2


def test_what_comes_behind_a_gap_is_left_to_be_sent_again(running):
    system = running("one")
    started = system.record(RecordType.ATTEMPT_STARTED, "one")
    missing = system.record(RecordType.LOG, "one", count=1)
    behind = system.record(RecordType.LOG, "one", count=1)
    told = system.ingest(started, behind)
    assert list(told.expected.values()) == [2]
    told = system.ingest(missing, behind)
    assert list(told.expected.values()) == [4]
    assert system.store.run().lines == 2


def test_records_of_one_who_does_not_hold_the_job_change_nothing(running):
    system = running("one")
    system.ingest(system.record(RecordType.ATTEMPT_STARTED, "one"), runner="stranger")
    assert system.store.stage_states() == ["pending"]


def test_a_record_that_makes_no_sense_stops_nothing(running):
    system = running("one")
    system.ingest(system.record(RecordType.ATTEMPT_ENDED, "one", status="nonsense"))
    system.perform("one")
    system.done()
    settle(system)
    assert system.store.run().status is RunStatus.PASSED


def test_a_queued_run_that_is_cancelled_ends_at_once(system):
    system.start("one")
    cancel_run(system.store.run().id, "bob", store=system.store)
    assert system.store.run().status is RunStatus.CANCELLED
    assert system.store.run().cancelled_by == "bob"
    assert system.store.stage_states() == ["cancelled"]


def test_a_running_one_is_told_and_ends_when_its_stage_has(running):
    system = running("one", "two")
    system.ingest(system.record(RecordType.ATTEMPT_STARTED, "one"))
    cancel_run(system.store.run().id, "bob", store=system.store)
    assert system.store.run().status is RunStatus.CANCELLING
    assert system.store.world.cancelled == [(system.store.job().id, None)]
    system.ingest(
        system.record(RecordType.ATTEMPT_ENDED, "one", status="cancelled", reason="cancelled_by"),
        system.record(RecordType.STAGE_SKIPPED, "two", reason="cancelled_by"),
    )
    system.done()
    settle(system)
    assert system.store.run().status is RunStatus.CANCELLED


def test_cancelling_after_the_end_or_twice_is_harmless(running):
    system = running("one")
    cancel_run(system.store.run().id, "bob", store=system.store)
    events = system.store.events()
    cancel_run(system.store.run().id, "carol", store=system.store)
    assert system.store.events() == events
    with pytest.raises(NotFound):
        cancel_run(RunId(system.store.world.uuid()), "bob", store=system.store)


def test_a_run_whose_stages_had_all_ended_keeps_its_end_though_cancelled(running):
    system = running("one")
    system.perform("one")
    cancel_run(system.store.run().id, "bob", store=system.store)
    system.done()
    settle(system)
    assert system.store.run().status is RunStatus.PASSED


def test_the_lease_tells_of_cancellation_and_of_being_fenced(running):
    system = running("one")
    job = system.store.job()
    assert renew_lease(job.id, job.epoch, job.session, store=system.store).state == "ok"
    cancel_run(job.run_id, "bob", store=system.store)
    assert renew_lease(job.id, job.epoch, job.session, store=system.store).state == "cancelled"
    stranger = SessionId(system.store.world.uuid())
    assert renew_lease(job.id, job.epoch, stranger, store=system.store).state == "fenced"


def test_an_attempt_that_only_the_lease_tells_of_has_begun(running):
    """The journal may be slow, or gone with its runner: a deployment must not happen twice for that."""
    system = running("one", "two")
    job = system.store.job()
    renew_lease(job.id, job.epoch, job.session, (StageKey("one"), 1), store=system.store)
    system.store.pass_time(LEASE_S + 1)
    assert judge(system) == 1
    assert (system.store.run().status, system.store.run().reason) == (RunStatus.ERRORED, "runner_lost")
    assert [a.status for a in system.store.world.attempts.values()] == ["lost"]


def test_an_attempt_that_lease_and_journal_tell_of_has_begun_once(running):
    system = running("one")
    job = system.store.job()
    for _ in range(2):
        renew_lease(job.id, job.epoch, job.session, (StageKey("one"), 1), store=system.store)
    system.perform("one")
    renew_lease(job.id, job.epoch, job.session, (StageKey("one"), 1), store=system.store)
    system.done()
    settle(system)
    assert system.store.run().status is RunStatus.PASSED
    assert [a.status for a in system.store.world.attempts.values()] == ["passed"]


def test_who_does_not_hold_the_job_begins_nothing_by_its_lease(running):
    system = running("one")
    job = system.store.job()
    stranger = SessionId(system.store.world.uuid())
    renew_lease(job.id, job.epoch, stranger, (StageKey("one"), 1), store=system.store)
    assert system.store.stage_states() == ["pending"]


def test_a_lost_runner_ends_its_begun_job_errored_by_default(running):
    system = running("one", "two")
    system.ingest(system.record(RecordType.ATTEMPT_STARTED, "one"))
    system.store.pass_time(LEASE_S + 1)
    assert judge(system) == 1
    assert system.store.run().status is RunStatus.ERRORED
    assert system.store.run().reason == "runner_lost"
    assert system.store.stage_states() == ["errored", "skipped"]
    assert [a.status for a in system.store.world.attempts.values()] == ["lost"]


def test_a_lost_job_of_which_nothing_had_begun_is_begun_again(running):
    system = running("one")
    system.store.pass_time(LEASE_S + 1)
    judge(system)
    assert (system.store.job().status, system.store.job().epoch) == (JobStatus.QUEUED, 2)


def test_a_lost_job_is_begun_again_from_the_lost_stage_where_the_pipeline_says_so(running):
    system = running("one", on_lost=OnLost.RESTART)
    system.ingest(system.record(RecordType.ATTEMPT_STARTED, "one"))
    system.store.pass_time(LEASE_S + 1)
    judge(system)
    order = system.claim(system.register("second"))
    assert order.stages[0].next_attempt == 2
    system.ingest(
        system.record(RecordType.ATTEMPT_STARTED, "one"),
        system.record(RecordType.ATTEMPT_ENDED, "one", status="passed"),
        runner="second",
    )
    system.ingest(system.record(RecordType.JOB_DONE), runner="second")
    settle(system)
    assert system.store.run().status is RunStatus.PASSED
    assert [a.status for a in system.store.world.attempts.values()] == ["lost", "passed"]


def test_what_a_lost_attempt_has_set_is_not_seen_by_the_next(running):
    system = running("one", "two", on_lost=OnLost.RESTART)
    session = system.store.world.runners["runner"].session
    system.ingest(system.record(RecordType.ATTEMPT_STARTED, "one"))
    system.ingest(system.record(RecordType.OUTPUT, "one", name="image", value="first"))
    system.ingest(system.record(RecordType.ATTEMPT_ENDED, "one", status="passed"))
    system.ingest(system.record(RecordType.ATTEMPT_STARTED, "two"))
    system.ingest(system.record(RecordType.OUTPUT, "two", name="image", value="half done"))
    system.ingest(system.record(RecordType.ATTEMPT_ENDED, "two", status="lost", reason="slot_lost"))
    system.done()
    settle(system)
    assert system.claim(session).outputs == {"image": "first"}


def test_a_restart_without_its_workspace_is_errored(running):
    system = running("one", "two", on_lost=OnLost.RESTART)
    system.perform("one")
    system.ingest(system.record(RecordType.ATTEMPT_STARTED, "two"))
    system.store.pass_time(LEASE_S + 1)
    judge(system)
    assert system.store.run().reason == "workspace_lost"
    assert system.store.stage_states() == ["passed", "errored"]


def test_a_slot_that_died_goes_on_from_its_lost_stage_on_its_own_runner(running):
    system = running("one", "two", on_lost=OnLost.RESTART)
    system.perform("one")
    system.perform("two", "lost", reason="slot_lost")
    system.done()
    settle(system)
    job = system.store.job()
    assert (job.status, job.epoch) == (JobStatus.QUEUED, 2)
    assert system.store.world.outbox[job.id, job.epoch][0] == "own:runner"
    assert system.store.stage_states() == ["passed", "pending"]


def test_a_job_that_kills_its_runners_is_errored_after_its_bound(running):
    system = running("one", on_lost=OnLost.RESTART)
    for _ in range(MAX_EPOCHS - 1):
        system.ingest(system.record(RecordType.ATTEMPT_STARTED, "one"))
        system.store.pass_time(LEASE_S + 1)
        judge(system)
        system.hear()
        session = system.store.world.runners["runner"].session
        system.claim(session)
    system.ingest(system.record(RecordType.ATTEMPT_STARTED, "one"))
    system.store.pass_time(LEASE_S + 1)
    judge(system)
    assert system.store.run().reason == "begun_too_often"


def test_nobody_is_judged_for_an_outage_of_ours(running):
    system = running("one")
    system.store.world.api_unbroken = False
    system.store.pass_time(LEASE_S * 10)
    assert judge(system) == 0


def test_a_late_lease_is_not_lost_while_its_runner_says_that_it_holds_the_job(running):
    system = running("one")
    system.store.pass_time(LEASE_S + 1)
    system.hear(holds=(str(system.store.job().id),))
    assert judge(system) == 0


def test_a_chain_that_vanished_is_published_again_before_anything_is_judged(running):
    system = running("one")
    job = system.store.job()
    system.store.pass_time(LEASE_S / 2 + 1)
    told = beat_runner(job.session, 2, 0, [], store=system.store, lease_s=LEASE_S, token=a_token())
    assert told.publish_again == ((job.id, job.epoch),)
    system.store.pass_time(LEASE_S / 2 + 0.1)
    system.hear(free_slots=2, own_queue=0)
    assert judge(system) == 1
    assert system.store.job().epoch == 2


def test_who_is_asked_late_to_publish_again_has_time_to_do_so_before_the_job_is_judged(running):
    system = running("one")
    job = system.store.job()
    system.store.pass_time(LEASE_S * 3)
    for _ in range(2):
        told = beat_runner(job.session, 2, 0, [], store=system.store, lease_s=LEASE_S, token=a_token())
        assert told.publish_again == ((job.id, job.epoch),)
        assert judge(system) == 0
        system.store.pass_time(LEASE_S / 4 + 0.1)
    system.hear(free_slots=2, own_queue=0)
    assert judge(system) == 1


def test_a_runner_of_its_own_folder_keeps_its_session(system):
    session = system.register()
    again = Registration("runner", ("default",), 2, "namespaces", "0", 1, session)
    assert register_runner(
        again, a_token(), store=system.store, ids=Ids(system.store), lease_s=LEASE_S
    ) == session


def test_a_silent_runner_is_marked_lost_and_comes_back_with_a_beat(system):
    session = system.register()
    system.store.pass_time(LEASE_S + 1)
    judge(system)
    assert system.store.world.runners["runner"].status is RunnerStatus.LOST
    beat_runner(session, 2, 0, [], store=system.store, lease_s=LEASE_S, token=a_token())
    assert system.store.world.runners["runner"].status is RunnerStatus.ONLINE


class Broker:
    """Remembers what was published; may lose it, or have a runner take it."""

    def __init__(self) -> None:
        self.name = "first"
        self.published: list[str] = []
        self.lost = False
        self.taken_by = ""

    def generation(self) -> str:
        return self.name

    def publish(self, queued) -> None:
        self.published.append(f"{queued.queue}:{queued.epoch}")

    def waiting(self, queue: str, runners) -> int:
        is_there = not self.lost and (not self.taken_by or self.taken_by in runners)
        return len(self.published) if is_there else 0


def test_a_queued_job_is_published_to_each_generation_of_the_broker_once(system):
    system.start()
    broker = Broker()
    for name in ("first", "first", "second"):
        broker.name = name
        publish_queued({}, store=system.store, dispatch=broker)
    assert broker.published == ["q:default:1", "q:default:1"]


def test_a_vanished_message_is_published_again_after_two_looks(system):
    system.start()
    broker = Broker()
    short = publish_queued({}, store=system.store, dispatch=broker)
    assert not short
    broker.lost = True
    short = publish_queued(short, store=system.store, dispatch=broker)
    assert len(broker.published) == 1
    publish_queued(short, store=system.store, dispatch=broker)
    assert len(broker.published) == 2


def test_what_a_runner_took_and_had_not_claimed_when_it_died_is_published_again(system):
    system.start()
    session = system.register()
    broker = Broker()
    broker.taken_by = "runner"
    short = publish_queued({}, store=system.store, dispatch=broker)
    assert not short
    system.store.pass_time(LEASE_S + 1)
    judge(system)
    assert system.store.world.runners["runner"].status is RunnerStatus.LOST
    for _ in range(2):
        short = publish_queued(short, store=system.store, dispatch=broker)
    assert broker.published == ["q:default:1", "q:default:1"]
    beat_runner(session, 2, 0, [], store=system.store, lease_s=LEASE_S, token=a_token())
    assert not publish_queued({}, store=system.store, dispatch=broker)


def test_late_log_lines_of_an_older_epoch_are_kept_and_nothing_else(running):
    system = running("one", on_lost=OnLost.RESTART)
    system.ingest(system.record(RecordType.ATTEMPT_STARTED, "one"))
    line = system.record(RecordType.LOG, "one", count=2)
    ended = system.record(RecordType.ATTEMPT_ENDED, "one", status="passed")
    system.store.pass_time(LEASE_S + 1)
    judge(system)
    told = system.ingest(line, ended)
    assert told.dropped == 1
    assert system.store.run().lines == 0
    assert system.store.stage_states() == ["pending"]


def test_a_job_is_only_claimed_by_a_runner_whose_token_serves_its_queue(system):
    system.start(queue="gpu")
    session = system.register()
    with pytest.raises(Exception, match="gpu"):
        system.claim(session)
    assert system.store.job() == replace(system.store.job(), status=JobStatus.QUEUED)


def test_a_log_record_of_no_stage_is_dropped_and_stops_nothing(running):
    system = running("one")
    nonsense = replace(system.record(RecordType.LOG, "one", count="many"), stage=None)
    assert system.ingest(nonsense).dropped == 1
    system.perform("one")
    system.done()
    settle(system)
    assert system.store.run().status is RunStatus.PASSED


def test_a_runner_that_leaves_is_offline_and_its_name_is_free_at_once(system):
    session = system.register()
    beat_runner(session, 0, 0, [], store=system.store, lease_s=LEASE_S, token=a_token(), leaving=True)
    assert system.store.world.runners["runner"].status is RunnerStatus.OFFLINE
    assert system.register() != session


def test_a_lease_that_is_ahead_of_the_journal_takes_no_attempt_away(running):
    system = running("one", "two")
    job = system.store.job()
    system.ingest(system.record(RecordType.ATTEMPT_STARTED, "one"))
    renew_lease(job.id, job.epoch, job.session, (StageKey("two"), 1), store=system.store)
    assert system.store.stage_states() == ["running", "pending"]
    system.ingest(system.record(RecordType.ATTEMPT_ENDED, "one", status="passed"))
    system.perform("two")
    system.done()
    settle(system)
    assert system.store.run().status is RunStatus.PASSED
    assert [attempt.status for attempt in system.store.world.attempts.values()] == ["passed", "passed"]
