"""End a run whose jobs have all ended."""

from collections.abc import Sequence
from dataclasses import replace

from rivet.domain.ids import RunId
from rivet.domain.job import Job
from rivet.domain.record import ControlEvent
from rivet.domain.run import end_of
from rivet.domain.states import (
    FINISHED_JOB,
    Reason,
    RunStatus,
    StageStatus,
)
from rivet.domain.transitions import RUN
from rivet.engine.ports import Tx


def end_run(run_id: RunId, tx: Tx, *, cancelled_by: str | None = None) -> None:
    """Write the run's end if every job has ended. Safe to call at any time: it changes nothing before."""
    run = tx.runs.get(run_id)
    if run is None or run.is_finished:
        return
    jobs = tx.jobs.of_run(run_id)
    if any(job.status not in FINISHED_JOB for job in jobs):
        return
    cancelling = run.status is RunStatus.CANCELLING or cancelled_by is not None
    all_stages = tx.stages.of_run(run_id)
    stages = [stage.status for stage in all_stages]
    status = end_of(stages, cancelling=cancelling and StageStatus.CANCELLED in stages)
    if run.status is RunStatus.RUNNING and status is RunStatus.CANCELLED:
        # A stage alone was cancelled, and nothing else went wrong: the run's end is that of its worst stage.
        cancelled_by = next((stage.cancelled_by for stage in all_stages if stage.cancelled_by), None)
        tx.runs.move(run, RunStatus.CANCELLING, reason=Reason.CANCELLED_BY, cancelled_by=cancelled_by)
        run = replace(run, status=RunStatus.CANCELLING)
    if not RUN.allows(run.status, status):
        status = RunStatus.CANCELLED
    by_somebody = cancelled_by is not None or run.status is RunStatus.CANCELLING
    reason = _reason_of(status, jobs)
    if status is RunStatus.CANCELLED and by_somebody:
        reason = Reason.CANCELLED_BY
    if tx.runs.move(run, status, reason=reason, cancelled_by=cancelled_by or run.cancelled_by):
        ended = {"status": status, "reason": reason, "lines": run.lines}
        tx.records.append(run_id, [(ControlEvent.RUN_ENDED, ended)])
        if run.turn is not None:
            tx.tell_turn(run.project_id, run.turn)


def _reason_of(status: RunStatus, jobs: Sequence[Job]) -> Reason | None:
    if status is RunStatus.PASSED:
        return None
    return next((job.reason for job in jobs if job.status.value == status.value), None)
