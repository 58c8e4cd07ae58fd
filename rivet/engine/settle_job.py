"""Settle a job: write its end, once its journal is in, and open what follows."""

from rivet.domain.ids import Epoch, JobId
from rivet.domain.job import end_of, reason_of
from rivet.domain.record import ControlEvent
from rivet.domain.states import FINISHED_STAGE, Reason
from rivet.engine.advance_run import advance_run
from rivet.engine.lose_job import lose_job
from rivet.engine.ports import Store
from rivet.engine.put_back import put_back


def settle_job(job_id: JobId, epoch: Epoch, *, store: Store) -> bool:
    """True if this call wrote the end.

    Safe at any time and as often as one likes: called by its task, by ingest and by upkeep, it does nothing
    unless the job is held in this epoch and all of its journal has been ingested. One whose stage waits for
    its next attempt is queued again, for that time.
    """
    with store.begin() as tx:
        job = tx.jobs.get(job_id)
        if job is None or not job.is_held_in(epoch) or not job.is_ingested:
            # Most often because the other caller was first: no lock is needed to see that.
            return False
        job = next((each for each in tx.jobs.lock_of_run(job.run_id) if each.id == job_id), None)
        if job is None or not job.is_held_in(epoch) or not job.is_ingested:
            return False
        tx.runs.lock(job.run_id)
        stages = [stage for stage in tx.stages.of_run(job.run_id) if stage.job_id == job_id]
        following = next((stage for stage in stages if stage.status not in FINISHED_STAGE), None)
        if following is not None and following.reason is Reason.RETRY_DELAY:
            put_back(job, following, tx)
            return True
        if following is not None:
            lose_job(job, Reason.SLOT_LOST, runner_lives=True, tx=tx)
            return True
        status = end_of(stage.status for stage in stages)
        reason = reason_of(status, stages)
        if not tx.jobs.move(job, status, reason=reason):
            return False
        tx.records.append(
            job.run_id,
            [(ControlEvent.JOB_ENDED, {"job": str(job.id), "status": status, "reason": reason})],
        )
        advance_run(job.run_id, tx)
        return True
