"""Cancel a run: what has not begun ends at once, what runs is told to stop; `finally` still has its turn."""

from rivet.domain.errors import NotFound
from rivet.domain.ids import RunId
from rivet.domain.job import Job
from rivet.domain.record import ControlEvent
from rivet.domain.states import FINISHED_JOB, JobStatus, Reason, RunStatus
from rivet.engine.advance_run import advance_run, end_pending
from rivet.engine.ports import Store, Tx


def cancel_run(run_id: RunId, actor: str, *, store: Store, once: bool = False) -> None:
    """Ask for the end of a run, in `actor`'s name. Asking after the end changes nothing.

    Asking a second time ends `finally` as well, unless `once` says that one asking is meant, however often it
    is made. Nothing of a run that had not begun is run any more. Raises NotFound.
    """
    with store.begin() as tx:
        jobs = tx.jobs.lock_of_run(run_id)
        run = tx.runs.lock(run_id)
        if run is None:
            raise NotFound(f"there is no run {run_id}")
        if run.is_finished:
            return
        again = run.status is RunStatus.CANCELLING
        if again and once:
            return
        whole = again or run.status is RunStatus.QUEUED
        if not again:
            tx.records.append(run_id, [(ControlEvent.CANCEL_ASKED, {"actor": actor})])
            if run.status is not RunStatus.QUEUED:
                tx.runs.move(run, RunStatus.CANCELLING, reason=Reason.CANCELLED_BY, cancelled_by=actor)
        for job in jobs:
            if job.status not in FINISHED_JOB and (whole or not job.is_last):
                _cancel(job, tx)
        advance_run(run_id, tx, cancelled_by=actor)


def _cancel(job: Job, tx: Tx) -> None:
    if job.status is JobStatus.RUNNING:
        tx.jobs.ask_cancel(job)
        tx.tell_cancelled(job)
    else:
        end_pending(job, JobStatus.CANCELLED, Reason.CANCELLED_BY, tx)
