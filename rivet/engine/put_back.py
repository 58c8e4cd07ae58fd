"""Put a job back: its slot is free until it is time for the next attempt of a stage."""

from rivet.domain.job import Job
from rivet.domain.runner import own_queue_of
from rivet.domain.stage import Stage
from rivet.domain.states import JobStatus, Reason
from rivet.engine.advance_run import advance_run, end_pending
from rivet.engine.begin_job import begin_job
from rivet.engine.place_job import LIVES, has_come_on, place_job
from rivet.engine.ports import Tx


def put_back(job: Job, following: Stage, tx: Tx) -> None:
    """Begin a running job again once the delay of its stage `following` is over.

    It goes to its own runner if stages of it have ended, for there is the workspace; else to any. The run's
    jobs and its clock must be locked.
    """
    if job.is_cancelled:
        end_pending(job, JobStatus.CANCELLED, Reason.CANCELLED_BY, tx)
        advance_run(job.run_id, tx)
        return
    queue = _queue_of(job, tx)
    if queue is None:
        end_pending(job, JobStatus.ERRORED, Reason.WORKSPACE_LOST, tx)
        advance_run(job.run_id, tx)
        return
    begin_job(job, tx, queue=queue, after_s=following.spec.retry.delay_before(following.attempts + 1))


def _queue_of(job: Job, tx: Tx) -> str | None:
    if not has_come_on(job, tx.stages.of_job(job.id)):
        return place_job(job, tx.jobs.of_run(job.run_id), tx)
    runner = tx.runners.get(job.runner) if job.runner is not None else None
    return own_queue_of(runner.name) if runner is not None and runner.status in LIVES else None
