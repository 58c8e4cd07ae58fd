"""Cancel one stage of a run: it ends `cancelled`, and what builds on it is skipped."""

from rivet.domain.errors import NotFound
from rivet.domain.ids import RunId
from rivet.domain.job import Job, end_of
from rivet.domain.record import ControlEvent
from rivet.domain.stage import Stage
from rivet.domain.states import FINISHED_STAGE, JobStatus, Reason, StageStatus
from rivet.engine.advance_run import advance_run
from rivet.engine.ports import Store, Tx


def cancel_stage(run_id: RunId, wanted: str, actor: str, *, store: Store) -> None:
    """Ask for the end of the stage of that key, in `actor`'s name. Asking twice, or after its end, changes
    nothing.

    Raises NotFound.
    """
    with store.begin() as tx:
        jobs = tx.jobs.lock_of_run(run_id)
        if tx.runs.lock(run_id) is None:
            raise NotFound(f"there is no run {run_id}")
        stages = tx.stages.of_run(run_id)
        stage = next((stage for stage in stages if stage.key == wanted), None)
        if stage is None:
            known = ", ".join(stage.key for stage in stages)
            raise NotFound(f'the run has no stage "{wanted[:100]}"; it has {known}')
        if not tx.stages.ask_cancel(stage, actor):
            return
        tx.records.append(run_id, [(ControlEvent.CANCEL_ASKED, {"actor": actor, "stage": stage.key})])
        job = next(job for job in jobs if job.id == stage.job_id)
        if job.status is JobStatus.RUNNING:
            tx.tell_cancelled(job, stage.key)
        else:
            _end_at_once(job, stage, tx)


def _end_at_once(job: Job, stage: Stage, tx: Tx) -> None:
    """Nobody works on the job: the stage ends here, and with it the job if nothing else is to be done."""
    tx.stages.move(stage, StageStatus.CANCELLED, reason=Reason.CANCELLED_BY)
    for later in tx.stages.of_job(job.id):
        if later.ordinal > stage.ordinal and later.status is StageStatus.PENDING:
            tx.stages.move(later, StageStatus.SKIPPED, reason=Reason.EARLIER_FAILURE)
    ends = [each.status for each in tx.stages.of_job(job.id)]
    if any(status not in FINISHED_STAGE for status in ends):
        return
    status = end_of(ends)
    if tx.jobs.move(job, status, reason=Reason.CANCELLED_BY):
        ended = {"job": str(job.id), "status": status, "reason": Reason.CANCELLED_BY}
        tx.records.append(job.run_id, [(ControlEvent.JOB_ENDED, ended)])
        advance_run(job.run_id, tx)
