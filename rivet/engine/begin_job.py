"""Beginning a job: the one operation by which anything starts, and starts again."""

from rivet.domain.ids import Epoch
from rivet.domain.job import Job
from rivet.domain.record import ControlEvent
from rivet.domain.runner import shared_queue_of
from rivet.engine.ports import Tx


def begin_job(job: Job, tx: Tx, *, queue: str | None = None, after_s: float = 0.0) -> Epoch | None:
    """Raise the job's epoch, write the outbox, and say so in the run's record.

    `queue` is the Redis list to publish to, not before `after_s` seconds have passed; the shared list of the
    job's queue if absent. Nothing happens, and None is given, where the job has moved on meanwhile.
    """
    epoch = tx.jobs.begin(job, queue or shared_queue_of(job.queue), after_s)
    if epoch is None:
        return None
    tx.records.append(
        job.run_id,
        [(ControlEvent.JOB_QUEUED, {"job": str(job.id), "epoch": epoch, "queue": job.queue})],
    )
    return epoch
