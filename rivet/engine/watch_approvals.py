"""Watch approvals: end those whose time is over, and those that a newer run has made pointless."""

from rivet.domain.ids import RunId, StageId
from rivet.domain.states import JobStatus, Reason, StageStatus
from rivet.engine.advance_run import advance_run, end_asked
from rivet.engine.ports import Store

BATCH = 200


def watch_approvals(*, store: Store) -> int:
    """How many were ended: `timed_out` (expired), or `cancelled` (superseded by a newer run that passed)."""
    with store.begin() as tx:
        due = [*tx.stages.expired(BATCH), *tx.stages.superseded(BATCH)]
    return sum(_end(run, stage, store) for run, stage in dict.fromkeys(due))


def _end(run_id: RunId, stage_id: StageId, store: Store) -> bool:
    with store.begin() as tx:
        jobs = tx.jobs.lock_of_run(run_id)
        tx.runs.lock(run_id)
        expired = (run_id, stage_id) in tx.stages.expired(BATCH)
        if not expired and (run_id, stage_id) not in tx.stages.superseded(BATCH):
            return False
        stage = next(stage for stage in tx.stages.of_run(run_id) if stage.id == stage_id)
        job = next(job for job in jobs if job.id == stage.job_id)
        if expired:
            end_asked(job, stage, StageStatus.TIMED_OUT, JobStatus.TIMED_OUT, Reason.EXPIRED, tx)
        else:
            end_asked(job, stage, StageStatus.CANCELLED, JobStatus.CANCELLED, Reason.SUPERSEDED, tx)
        advance_run(run_id, tx)
        return True
