"""What is paused is neither published nor claimed, and is both as soon as the pause is taken back."""

import pytest

from rivet.domain.errors import Conflict, NotFound
from rivet.domain.pause import Paused
from rivet.domain.states import RunStatus
from rivet.engine.begin_job import begin_job
from rivet.engine.pause_work import pause_work, resume_work


@pytest.fixture
def begun(store, a_run, a_runner):
    """A run whose job is queued, a runner that would claim it, and what commits let be published."""
    planned, runner = a_run("build"), a_runner()
    with store.begin() as tx:
        begin_job(planned.job, tx)
    published = []
    store.on_commit = lambda committed: published.extend(queued.job_id for queued in committed.queued)
    yield planned, runner, published
    store.on_commit = None


def names(planned, runner):
    return {Paused.PIPELINE: planned.run.pipeline, Paused.QUEUE: planned.job.queue, Paused.RUNNER: runner.name}


def claims(store, planned, runner) -> bool:
    with store.begin() as tx:
        job = tx.jobs.lock(planned.job.id)
        return job.status == "queued" and tx.jobs.claim(job, runner.name, runner.session)


def waits_in_outbox(store, planned) -> tuple[bool, bool]:
    with store.begin() as tx:
        unpublished = {queued.job_id for queued in tx.outbox.unpublished("another generation", 500)}
        due = {queued.job_id for queued in tx.outbox.of_queue(f"q:{planned.job.queue}", 500, due=True)}
    return planned.job.id in unpublished, planned.job.id in due


@pytest.mark.parametrize("kind", list(Paused))
def test_a_paused_job_is_not_claimed_until_it_is_resumed(store, begun, kind):
    planned, runner, published = begun
    name = names(planned, runner)[kind]
    pause_work(kind, name, "for a test", "alice", store=store)
    is_held_back = kind is not Paused.RUNNER  # of a runner that is paused others may take the job
    assert waits_in_outbox(store, planned) == ((not is_held_back,) * 2)
    assert not claims(store, planned, runner)
    count = resume_work(kind, name, store=store)
    assert (planned.job.id in published) == is_held_back
    assert count >= is_held_back
    assert waits_in_outbox(store, planned) == (True, True)
    assert claims(store, planned, runner)


def test_a_run_that_has_begun_goes_on_though_its_pipeline_is_paused(store, begun):
    planned, runner, _ = begun
    with store.begin() as tx:
        tx.runs.move(tx.runs.lock(planned.run.id), RunStatus.RUNNING)
    pause_work(Paused.PIPELINE, planned.run.pipeline, "for a test", "alice", store=store)
    assert claims(store, planned, runner)
    resume_work(Paused.PIPELINE, planned.run.pipeline, store=store)


def test_pausing_again_gives_another_reason_and_keeps_since_when(store):
    first = pause_work(Paused.QUEUE, "gpu", "one", "alice", store=store)
    second = pause_work(Paused.QUEUE, "gpu", "another", "bob", store=store)
    assert (second.why, second.actor, second.since) == ("another", "bob", first.since)
    resume_work(Paused.QUEUE, "gpu", store=store)
    with pytest.raises(Conflict, match="not paused"):
        resume_work(Paused.QUEUE, "gpu", store=store)


@pytest.mark.parametrize("kind", [Paused.PIPELINE, Paused.RUNNER])
def test_what_is_not_there_cannot_be_paused(store, kind):
    with pytest.raises(NotFound, match="nobody"):
        pause_work(kind, "nobody", "for a test", "alice", store=store)


def test_what_is_paused_twice_waits_for_both(store, begun):
    planned, runner, published = begun
    pause_work(Paused.PIPELINE, planned.run.pipeline, "one", "alice", store=store)
    pause_work(Paused.QUEUE, planned.job.queue, "another", "alice", store=store)
    resume_work(Paused.PIPELINE, planned.run.pipeline, store=store)
    assert published == []
    assert not claims(store, planned, runner)
    resume_work(Paused.QUEUE, planned.job.queue, store=store)
    assert planned.job.id in published
