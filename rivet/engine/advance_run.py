"""Advance a run: begin what can begin, skip what cannot, and end it when nothing is left to do."""

from collections.abc import Mapping, Sequence

from rivet.domain.ids import JobId, RunId
from rivet.domain.job import Job
from rivet.domain.record import ControlEvent
from rivet.domain.run import Run
from rivet.domain.stage import Stage
from rivet.domain.states import FINISHED_JOB, FINISHED_STAGE, JobStatus, Reason, RunStatus, StageStatus
from rivet.engine.begin_job import begin_job
from rivet.engine.end_run import end_run
from rivet.engine.place_job import place_job
from rivet.engine.ports import Tx

_AT_WORK = frozenset({JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.LOST})


def advance_run(run_id: RunId, tx: Tx, *, cancelled_by: str | None = None) -> None:
    """Called whenever something of the run has ended, as often as one likes.

    All jobs of the run must be locked, and its clock.
    """
    run = tx.runs.get(run_id)
    if run is None or run.is_finished:
        return
    while _round(run, tx):
        pass
    jobs = tx.jobs.of_run(run_id)
    if all(job.status in FINISHED_JOB for job in jobs if not job.is_last):
        for job in jobs:
            if job.status is JobStatus.PENDING:
                begin_job(job, tx, queue=place_job(job, jobs, tx))
    _note_waiting(run_id, tx)
    end_run(run_id, tx, cancelled_by=cancelled_by)


def _round(run: Run, tx: Tx) -> bool:
    """Look at each job that has not begun; whether something ended on the way, so that others may follow."""
    jobs = {job.id: job for job in tx.jobs.of_run(run.id)}
    ended = _end_failed_groups(list(jobs.values()), tx)
    for job in jobs.values():
        if ended or job.status is not JobStatus.PENDING or job.is_last:
            continue
        before = [jobs[other] for other in job.waits_for]
        if any(other.status not in FINISHED_JOB for other in before):
            continue
        if run.status is RunStatus.CANCELLING or job.is_cancelled:
            ended = end_pending(job, JobStatus.CANCELLED, Reason.CANCELLED_BY, tx)
        elif all(other.status is JobStatus.PASSED for other in before):
            ended = _open(job, jobs, tx)
        else:
            ended = end_pending(job, JobStatus.SKIPPED, Reason.EARLIER_FAILURE, tx)
    return ended


def _open(job: Job, jobs: Mapping[JobId, Job], tx: Tx) -> bool:
    """Begin a job, or have its first stage wait for a person; whether the job ended instead."""
    stages = tx.stages.of_job(job.id)
    first = next((stage for stage in stages if stage.status not in FINISHED_STAGE), None)
    if first is None:
        _end(job, JobStatus.PASSED, None, tx)
        return True
    if first.spec.is_open:
        tx.tell_reached(job.run_id)
        return False
    if first.status is StageStatus.WAITING:
        return False
    if first.spec.approval is not None and first.approved_by is None:
        tx.stages.move(first, StageStatus.WAITING, reason=Reason.APPROVAL)
        told = {"job": str(job.id), "stage": first.key, "message": first.spec.approval.message}
        tx.records.append(job.run_id, [(ControlEvent.APPROVAL_ASKED, told)])
        return False
    group = job.group
    if group is not None and group.max_parallel is not None:
        siblings = [each for each in jobs.values() if each.group is not None and each.group.key == group.key]
        # Those begun in this round are still pending in what was read before it.
        at_work = sum(tx.jobs.is_at_work(each.id) for each in siblings)
        if at_work >= group.max_parallel:
            return False
    queue = place_job(job, list(jobs.values()), tx)
    if queue is None:
        return end_pending(job, JobStatus.ERRORED, Reason.WORKSPACE_LOST, tx)
    begin_job(job, tx, queue=queue)
    return False


def _end_failed_groups(jobs: Sequence[Job], tx: Tx) -> bool:
    """Where a member of a `fail_fast` group has not passed, the others are not to go on."""
    over = {
        job.group.key for job in jobs
        if job.group is not None and job.group.fail_fast
        and job.status in FINISHED_JOB and job.status is not JobStatus.PASSED
    }  # fmt: skip
    ended = False
    for job in jobs:
        if job.group is None or job.group.key not in over or job.status in FINISHED_JOB:
            continue
        if job.status is JobStatus.RUNNING:
            if tx.jobs.ask_cancel(job):
                tx.tell_cancelled(job)
        else:
            end = JobStatus.SKIPPED if job.status is JobStatus.PENDING else JobStatus.CANCELLED
            ended |= end_pending(job, end, Reason.EARLIER_FAILURE, tx)
    return ended


def end_pending(job: Job, to: JobStatus, reason: Reason, tx: Tx) -> bool:
    """End a job that nobody works on, and all its stages that have not ended; whether it could be."""
    stage_to = {JobStatus.SKIPPED: StageStatus.SKIPPED, JobStatus.CANCELLED: StageStatus.CANCELLED}
    blamed, why = stage_to.get(to, StageStatus.ERRORED), reason
    for stage in tx.stages.of_job(job.id):
        if stage.status in (StageStatus.PENDING, StageStatus.WAITING):
            waits = stage.status is StageStatus.WAITING and blamed is StageStatus.SKIPPED
            tx.stages.move(stage, StageStatus.CANCELLED if waits else blamed, reason=why)
            if blamed is StageStatus.ERRORED:
                blamed, why = StageStatus.SKIPPED, Reason.EARLIER_FAILURE
    return _end(job, to, reason, tx)


def end_asked(
    job: Job, stage: Stage, stage_to: StageStatus, to: JobStatus, reason: Reason, tx: Tx
) -> None:
    """End a stage that waits for a person, and its job, which has not begun; those behind it are skipped."""
    tx.stages.move(stage, stage_to, reason=reason)
    for later in tx.stages.of_job(job.id):
        if later.status is StageStatus.PENDING:
            tx.stages.move(later, StageStatus.SKIPPED, reason=Reason.EARLIER_FAILURE)
    _end(job, to, reason, tx)


def _end(job: Job, to: JobStatus, reason: Reason | None, tx: Tx) -> bool:
    if not tx.jobs.move(job, to, reason=reason):
        return False
    told = {"job": str(job.id), "status": to, "reason": reason}
    tx.records.append(job.run_id, [(ControlEvent.JOB_ENDED, told)])
    return True


def _note_waiting(run_id: RunId, tx: Tx) -> None:
    """A run waits while nothing of it runs and a person is asked; else it runs, or is yet to."""
    run = tx.runs.get(run_id)
    if run is None or run.is_finished or run.status is RunStatus.CANCELLING:
        return
    at_work = any(job.status in _AT_WORK for job in tx.jobs.of_run(run_id))
    if at_work and run.status is not RunStatus.WAITING:
        return
    asked = any(stage.status is StageStatus.WAITING for stage in tx.stages.of_run(run_id))
    if asked and not at_work and run.status is not RunStatus.WAITING:
        tx.runs.move(run, RunStatus.WAITING, reason=Reason.APPROVAL)
    elif at_work and run.status is RunStatus.WAITING:
        tx.runs.move(run, RunStatus.RUNNING)
