"""Cancel a run: what has not begun ends at once, what runs is told to stop."""

from rivet.domain.errors import NotFound
from rivet.domain.ids import RunId
from rivet.domain.record import ControlEvent
from rivet.domain.states import JobStatus, Reason, RunStatus, StageStatus
from rivet.engine.end_run import end_run
from rivet.engine.ports import Store

_IDLE = frozenset({JobStatus.PENDING, JobStatus.QUEUED, JobStatus.LOST})


def cancel_run(run_id: RunId, actor: str, *, store: Store) -> None:
    """Ask for the end of a run, in `actor`'s name. Asking twice, or after the end, changes nothing.

    Raises NotFound.
    """
    with store.begin() as tx:
        jobs = tx.jobs.lock_of_run(run_id)
        run = tx.runs.lock(run_id)
        if run is None:
            raise NotFound(f"there is no run {run_id}")
        if run.is_finished:
            return
        first_time = run.status is not RunStatus.CANCELLING
        if first_time:
            tx.records.append(run_id, [(ControlEvent.CANCEL_ASKED, {"actor": actor})])
            if run.status is not RunStatus.QUEUED:
                tx.runs.move(run, RunStatus.CANCELLING, reason=Reason.CANCELLED_BY, cancelled_by=actor)
        for job in jobs:
            if job.status is JobStatus.RUNNING:
                tx.tell_cancelled(job.id)
            elif job.status in _IDLE and tx.jobs.move(job, JobStatus.CANCELLED, reason=Reason.CANCELLED_BY):
                for stage in tx.stages.of_job(job.id):
                    if stage.status in (StageStatus.PENDING, StageStatus.WAITING):
                        tx.stages.move(stage, StageStatus.CANCELLED, reason=Reason.CANCELLED_BY)
        end_run(run_id, tx, cancelled_by=actor)
