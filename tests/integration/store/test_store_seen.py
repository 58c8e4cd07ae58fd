"""What a transaction has read already is read again once it was written, or something was locked."""

from dataclasses import replace

from rivet.domain.ids import JobId, RunId, StageId
from rivet.domain.states import JobStatus, RunStatus, StageStatus
from rivet.wiring.ids import Uuid7


def test_a_run_that_was_looked_for_before_it_was_added_is_found_afterwards(store, a_run):
    other = a_run().run
    run_id = RunId(Uuid7().uuid())
    with store.begin() as tx:
        assert tx.runs.get(run_id) is None
        number = tx.pipelines.take_run_number(other.pipeline_id)
        tx.runs.add(replace(other, id=run_id, number=number))
        found = tx.runs.get(run_id)
        assert found is not None
        assert found.number == number


def test_what_was_moved_is_read_as_it_is_now(store, a_run):
    planned = a_run("build", "test")
    with store.begin() as tx:
        run = tx.runs.get(planned.run.id)
        first = tx.stages.of_run(run.id)[0]
        job = tx.jobs.of_run(run.id)[0]
        assert tx.runs.move(run, RunStatus.RUNNING)
        assert tx.stages.move(first, StageStatus.RUNNING)
        assert tx.jobs.begin(job, "q:default") == 1
        assert tx.runs.get(run.id).status is RunStatus.RUNNING
        assert [stage.status for stage in tx.stages.of_job(job.id)] == ["running", "pending"]
        assert tx.jobs.of_run(run.id)[0].status == "queued"


def test_what_another_has_moved_before_is_read_anew(store, a_run):
    planned = a_run("build")
    with store.begin() as tx:
        [stage] = tx.stages.of_run(planned.run.id)
        [job] = tx.jobs.of_run(planned.run.id)
        with store.begin() as other:
            assert other.stages.move(stage, StageStatus.SKIPPED)
            assert other.jobs.move(job, JobStatus.SKIPPED)
        assert not tx.stages.move(stage, StageStatus.RUNNING)
        assert not tx.jobs.move(job, JobStatus.CANCELLED)
        assert tx.jobs.begin(job, "q:default") is None
        assert [each.status for each in tx.stages.of_run(planned.run.id)] == ["skipped"]
        assert [each.status for each in tx.jobs.of_run(planned.run.id)] == ["skipped"]


def test_what_a_transaction_has_made_is_as_it_would_be_read(store, a_run):
    planned = a_run("build", "test")
    other = RunId(Uuid7().uuid())
    with store.begin() as tx:
        number = tx.pipelines.take_run_number(planned.run.pipeline_id)
        tx.runs.add(replace(planned.run, id=other, number=number))
        job = replace(planned.job, id=JobId(Uuid7().uuid()), run_id=other)
        tx.jobs.add(job)
        tx.stages.add(
            replace(stage, id=StageId(Uuid7().uuid()), run_id=other, job_id=job.id) for stage in planned.stages
        )
        tx.jobs.begin(job, "q:default")
        made = tx.jobs.of_run(other), tx.stages.of_run(other), tx.stages.of_job(job.id)
        tx.runs.lock(other)
        assert made == (tx.jobs.of_run(other), tx.stages.of_run(other), tx.stages.of_job(job.id))


def test_after_a_lock_all_is_read_as_others_have_left_it(store, a_run):
    planned = a_run()
    with store.begin() as tx:
        tx.runs.get(planned.run.id)
        tx.stages.of_run(planned.run.id)
        with store.begin() as other:
            other.runs.move(other.runs.get(planned.run.id), RunStatus.RUNNING)
            other.stages.move(planned.stages[0], StageStatus.RUNNING)
        assert tx.runs.lock(planned.run.id).status is RunStatus.RUNNING
        assert tx.stages.of_run(planned.run.id)[0].status == "running"
