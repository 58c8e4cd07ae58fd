"""Settle a job: write its end, once its journal is in, and open what follows."""

from rivet.domain.ids import Epoch, JobId
from rivet.domain.job import Job, end_of, reason_of
from rivet.domain.record import ControlEvent
from rivet.domain.states import FINISHED_STAGE, Reason
from rivet.engine.advance_run import advance_run
from rivet.engine.lose_job import lose_job
from rivet.engine.ports import Store, Tx
from rivet.engine.put_back import put_back


def settle_job(job_id: JobId, epoch: Epoch, *, store: Store) -> bool:
    """True if this call wrote the end.

    Safe at any time and as often as one likes: called by its task and by upkeep, it does nothing unless the
    job is held in this epoch and all of its journal has been ingested. Most often ingest has settled it with
    the last record.
    """
    with store.begin() as tx:
        job = tx.jobs.get(job_id)
        if job is None or not _is_to_end(job, epoch):
            # Most often because the other caller was first: no lock is needed to see that.
            return False
        tx.jobs.lock_of_run(job.run_id)
        return settle_locked(job, epoch, tx)


def settle_locked(job: Job, epoch: Epoch, tx: Tx) -> bool:
    """As `settle_job`, where all jobs of the run are locked. A job whose stage waits for its next attempt is
    queued again, for that time.
    """
    tx.runs.lock(job.run_id)
    found = next((each for each in tx.jobs.of_run(job.run_id) if each.id == job.id), None)
    if found is None or not _is_to_end(found, epoch):
        return False
    stages = tx.stages.of_job(job.id)
    following = next((stage for stage in stages if stage.status not in FINISHED_STAGE), None)
    if following is not None and following.reason is Reason.RETRY_DELAY:
        put_back(found, following, tx)
        return True
    if following is not None:
        lose_job(found, Reason.SLOT_LOST, runner_lives=True, tx=tx)
        return True
    status = end_of(stage.status for stage in stages)
    reason = reason_of(status, stages)
    if not tx.jobs.move(found, status, reason=reason):
        return False
    ended = {"job": str(job.id), "status": status, "reason": reason}
    tx.records.append(job.run_id, [(ControlEvent.JOB_ENDED, ended)])
    advance_run(job.run_id, tx)
    return True


def _is_to_end(job: Job, epoch: Epoch) -> bool:
    return job.is_held_in(epoch) and job.is_ingested
