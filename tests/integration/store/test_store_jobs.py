"""Jobs, leases, outbox and runners: every write is guarded by the state it expects."""

import uuid
from dataclasses import replace

import pytest

from rivet.domain.errors import IllegalMove
from rivet.domain.states import JobStatus, Reason, RunnerStatus, RunStatus
from rivet.engine.ports import Queued


def begin(store, job):
    with store.begin() as tx:
        tx.jobs.begin(job, "q:default")
        return tx.jobs.get(job.id)


def claim(store, job, runner):
    with store.begin() as tx:
        assert tx.jobs.claim(job, runner.name, runner.session)
        return tx.jobs.get(job.id)


def test_beginning_a_job_raises_its_epoch_and_writes_the_outbox(told, a_run):
    planned = a_run()
    told.commits.clear()
    job = begin(told.store, planned.job)
    assert (job.status, job.epoch, job.queued_at is not None) == ("queued", 1, True)
    assert [(each.job_id, each.epoch, each.queue) for each in told.commits[0].queued] == [
        (job.id, 1, "q:default")
    ]
    with told.store.begin() as tx:
        assert job.id in [each.job_id for each in tx.outbox.unpublished("g1", 100)]
        assert tx.jobs.begin(planned.job, "q:default") is None


def test_only_one_of_two_runners_gets_a_job(store, a_run, a_runner):
    first, second = a_runner(), a_runner()
    job = begin(store, a_run().job)
    held = claim(store, job, first)
    assert (held.runner, held.session, held.status) == (first.name, first.session, "running")
    with store.begin() as tx:
        assert not tx.jobs.claim(job, second.name, second.session)
        assert [each.id for each in tx.runners.held_by(first.session)] == [job.id]


def test_the_outbox_forgets_a_job_that_was_claimed(store, a_run, a_runner):
    job = begin(store, a_run(pipeline="outbox").job)
    with store.begin() as tx:
        before = tx.jobs.queued_counts()["q:default"]
        queued = next(each for each in tx.outbox.of_queue("q:default", 100) if each.job_id == job.id)
        tx.outbox.mark([queued], "g1")
        assert job.id not in [each.job_id for each in tx.outbox.unpublished("g1", 100)]
        assert job.id in [each.job_id for each in tx.outbox.unpublished("g2", 100)]
    claim(store, job, a_runner())
    with store.begin() as tx:
        assert tx.jobs.queued_counts().get("q:default", 0) == before - 1
        assert job.id not in [each.job_id for each in tx.outbox.of_queue("q:default", 100)]


def test_a_lease_belongs_to_epoch_and_session(store, a_run, a_runner):
    runner = a_runner()
    job = claim(store, begin(store, a_run().job), runner)
    with store.begin() as tx:
        assert tx.leases.renew(job.id, job.epoch, runner.session)
        assert not tx.leases.renew(job.id, job.epoch + 1, runner.session)
        assert not tx.leases.renew(job.id, job.epoch, uuid.uuid4())
    with store.begin() as tx:
        late = next(lease for lease in tx.leases.late(-1.0) if lease.job_id == job.id)
        assert late.age_s >= 0
        assert not late.helped
        tx.leases.note_help(job.id, job.epoch, 5.0)
        assert next(lease for lease in tx.leases.late(-1.0) if lease.job_id == job.id).helped


def test_a_lost_job_is_begun_again_in_the_next_epoch_and_its_old_holder_is_fenced(store, a_run, a_runner):
    runner = a_runner()
    job = claim(store, begin(store, a_run().job), runner)
    with store.begin() as tx:
        assert tx.jobs.move(job, JobStatus.LOST, reason=Reason.RUNNER_LOST)
        lost = tx.jobs.lock(job.id)
        assert tx.jobs.begin(lost, "q:default") == 2
    with store.begin() as tx:
        assert not tx.leases.renew(job.id, job.epoch, runner.session)
        assert not tx.jobs.advance(job.id, job.epoch, 0, 5)
        again = tx.jobs.get(job.id)
        assert (again.epoch, again.runner, again.ingested_seq) == (2, None, 0)


def test_a_move_from_a_state_that_was_left_changes_nothing(store, a_run):
    planned = a_run()
    begin(store, planned.job)
    with store.begin() as tx:
        assert not tx.jobs.move(planned.job, JobStatus.CANCELLED)
        assert tx.jobs.get(planned.job.id).status == "queued"


def test_a_move_that_no_table_has_is_refused(store, a_run):
    planned = a_run()
    with store.begin() as tx:
        with pytest.raises(IllegalMove):
            tx.jobs.move(planned.job, JobStatus.RUNNING)
        with pytest.raises(IllegalMove):
            tx.runs.move(planned.run, RunStatus.PASSED)


def test_ingest_advances_without_a_gap_and_then_the_job_can_be_settled(store, a_run, a_runner):
    job = claim(store, begin(store, a_run().job), a_runner())
    with store.begin() as tx:
        assert tx.jobs.advance(job.id, job.epoch, 0, 7)
        assert not tx.jobs.advance(job.id, job.epoch, 0, 9)
        assert (job.id, job.epoch) not in tx.jobs.settleable(100)
        assert tx.jobs.advance(job.id, job.epoch, 7, 8, last_seq=8)
        assert (job.id, job.epoch) in tx.jobs.settleable(100)
        ended = tx.jobs.get(job.id)
        assert tx.jobs.move(ended, JobStatus.PASSED)
        assert tx.jobs.get(job.id).ended_at is not None
        assert (job.id, job.epoch) not in tx.jobs.settleable(100)


def test_a_run_notes_when_it_began_and_ended(store, a_run):
    run = a_run().run
    with store.begin() as tx:
        assert tx.runs.move(run, RunStatus.RUNNING)
        running = tx.runs.lock(run.id)
        assert running.started_at is not None
        assert running.plan == run.plan
        assert running.inputs == {"x": 1.5}
        assert tx.runs.move(running, RunStatus.CANCELLING, reason=Reason.CANCELLED_BY, cancelled_by="bob")
        cancelling = tx.runs.get(run.id)
        assert tx.runs.move(cancelling, RunStatus.CANCELLED, reason=Reason.CANCELLED_BY)
        ended = tx.runs.get(run.id)
        assert (ended.cancelled_by, ended.ended_at is not None) == ("bob", True)


def test_a_runner_that_registers_again_replaces_its_row(store, a_runner):
    runner = a_runner("again")
    with store.begin() as tx:
        tx.runners.put(replace(runner, session=uuid.uuid4(), slots=4))
        assert tx.runners.by_session(runner.session) is None
        assert tx.runners.get("again").slots == 4
        assert not tx.runners.beat(runner.session, 1, 0, [])


def test_a_silent_runner_is_found_until_it_beats(store, a_runner):
    runner = a_runner("silent")
    with store.begin() as tx:
        assert "silent" in [each.name for each in tx.runners.silent(-1.0)]
        assert "silent" not in [each.name for each in tx.runners.silent(60.0)]
        assert tx.runners.beat(runner.session, 1, 3, ["a"])
        beaten = tx.runners.get("silent")
        assert (beaten.free_slots, beaten.own_queue, beaten.holds) == (1, 3, ("a",))
        assert tx.runners.move(beaten, RunnerStatus.LOST)
        assert "silent" not in [each.name for each in tx.runners.silent(-1.0)]
        assert "silent" in tx.runners.names()


def test_a_duty_has_one_holder_until_its_time_is_over(store):
    first, second = uuid.uuid4(), uuid.uuid4()
    with store.begin() as tx:
        assert tx.parts.take_lease("ingest", first, 60)
        assert tx.parts.take_lease("ingest", first, 60)
        assert not tx.parts.take_lease("ingest", second, 60)
        assert tx.parts.take_lease("ingest", first, -1)
    with store.begin() as tx:
        assert tx.parts.take_lease("ingest", second, 60)


def test_a_part_is_unbroken_only_if_it_beat_without_a_gap(store):
    with store.begin() as tx:
        tx.parts.beat("part-a", 5.0)
        assert tx.parts.unbroken("part", 0.0, 5.0)
        assert not tx.parts.unbroken("part", 1.0, 5.0)
        assert not tx.parts.unbroken("other", 0.0, 5.0)


def test_a_beat_after_a_silence_starts_anew(store):
    with store.begin() as tx:
        tx.parts.beat("gap-a", 5.0)
    with store.begin() as tx:
        tx.parts.beat("gap-a", 5.0)
        first = tx.now()
    with store.begin() as tx:
        tx.parts.beat("gap-a", 0.0)
        assert not tx.parts.unbroken("gap", (tx.now() - first).total_seconds(), 5.0)


def test_what_was_published_is_marked_however_often_a_connection_has_marked_before(store, a_run):
    with store.begin() as tx:
        for _ in range(6):  # the statement is prepared on the way
            tx.outbox.mark([], "g0")
    planned = a_run()
    with store.begin() as tx:
        epoch = tx.jobs.begin(tx.jobs.get(planned.job.id), "q:marked")
    queued = Queued(planned.job.id, epoch, "q:marked")
    for generation in ("g1", "g2", "g3", "g4", "g5", "g6"):
        with store.begin() as tx:
            assert queued in tx.outbox.unpublished(generation, 1000)
            tx.outbox.mark([queued], generation)
            assert queued not in tx.outbox.unpublished(generation, 1000)
