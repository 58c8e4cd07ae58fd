"""End a run whose jobs have all ended, or open what follows the job that ended last."""

from collections.abc import Sequence
from dataclasses import replace

from rivet.domain.ids import RunId
from rivet.domain.job import Job
from rivet.domain.record import ControlEvent
from rivet.domain.run import Run, end_of
from rivet.domain.states import (
    FINISHED_JOB,
    JobStatus,
    Reason,
    RunStatus,
    StageStatus,
)
from rivet.domain.transitions import RUN
from rivet.engine.begin_job import begin_job
from rivet.engine.ports import Tx


def open_next(job: Job, tx: Tx) -> None:
    """After `job` has ended: begin the run's next job, or skip what cannot follow, or end the run.

    The run's clock must be locked, and the job's row.
    """
    run = tx.runs.get(job.run_id)
    if run is None or run.is_finished:
        return
    ended = next(other for other in tx.jobs.of_run(run.id) if other.id == job.id)
    for following in tx.jobs.of_run(run.id):
        if following.status is not JobStatus.PENDING:
            continue
        if ended.status is JobStatus.PASSED and run.status is not RunStatus.CANCELLING:
            begin_job(following, tx)
            return
        _skip(following, run, tx)
    end_run(run.id, tx)


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
    reason = _reason_of(status, jobs)
    if tx.runs.move(run, status, reason=reason, cancelled_by=cancelled_by or run.cancelled_by):
        ended = {"status": status, "reason": reason, "lines": run.lines}
        tx.records.append(run_id, [(ControlEvent.RUN_ENDED, ended)])


def _reason_of(status: RunStatus, jobs: Sequence[Job]) -> Reason | None:
    if status is RunStatus.CANCELLED:
        return Reason.CANCELLED_BY
    if status is RunStatus.PASSED:
        return None
    return next((job.reason for job in jobs if job.status.value == status.value), None)


def _skip(job: Job, run: Run, tx: Tx) -> None:
    cancelling = run.status is RunStatus.CANCELLING
    reason = Reason.CANCELLED_BY if cancelling else Reason.EARLIER_FAILURE
    if tx.jobs.move(job, JobStatus.CANCELLED if cancelling else JobStatus.SKIPPED, reason=reason):
        for stage in tx.stages.of_job(job.id):
            if stage.status is StageStatus.PENDING:
                tx.stages.move(
                    stage, StageStatus.CANCELLED if cancelling else StageStatus.SKIPPED, reason=reason
                )
