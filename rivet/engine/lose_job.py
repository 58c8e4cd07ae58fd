"""Lose a job: its runner or its slot is gone. Begin it again where that is allowed, else end it errored."""

from collections.abc import Sequence
from dataclasses import replace

from rivet.domain.job import MAX_EPOCHS, Job, end_of, reason_of
from rivet.domain.record import ControlEvent
from rivet.domain.runner import own_queue_of
from rivet.domain.stage import Attempt, Stage, is_begun_again
from rivet.domain.states import (
    FINISHED_STAGE,
    AttemptStatus,
    JobStatus,
    Reason,
    StageStatus,
)
from rivet.engine.advance_run import advance_run
from rivet.engine.begin_job import begin_job
from rivet.engine.place_job import has_come_on, place_job
from rivet.engine.ports import Tx
from rivet.engine.stage_after import stage_after


def lose_job(job: Job, reason: Reason, *, runner_lives: bool, tx: Tx) -> None:
    """Mark a running job lost, and decide what becomes of it. The run's jobs and its clock must be locked.

    A job in which nothing had begun is always begun again; so is one whose next stage may be, by its `retry`
    or by `on_lost`, from that stage on: on its own runner if stages of it have passed, for there is the
    workspace. One whose stages have all ended has ended as they did.
    """
    stages = tx.stages.of_job(job.id)
    for attempt in tx.stages.live_attempts(job.id):
        tx.stages.end_attempt(
            attempt.stage_id, attempt.number, attempt.epoch, AttemptStatus.LOST,
            reason=reason, exit_code=None, error=None,
        )
        stage = next(stage for stage in stages if stage.id == attempt.stage_id)
        if job.is_cancelled:
            tx.stages.move(stage, StageStatus.CANCELLED, reason=Reason.CANCELLED_BY)
        else:
            after = stage_after(AttemptStatus.LOST, job, stage, attempt.number, reason, None)
            tx.stages.move(stage, after, reason=reason)
    _note_untold(job, reason, tx)
    stages = tx.stages.of_job(job.id)
    begun = any(stage.attempts for stage in stages)
    following = next((stage for stage in stages if stage.status not in FINISHED_STAGE), None)
    if following is None and not any(stage.status is StageStatus.ERRORED for stage in stages):
        _end_as_its_stages(job, stages, tx)
        return
    if not tx.jobs.move(job, JobStatus.LOST, reason=reason):
        return
    tx.records.append(
        job.run_id,
        [(ControlEvent.JOB_LOST, {"job": str(job.id), "epoch": job.epoch, "reason": reason})],
    )
    lost = replace(job, status=JobStatus.LOST, reason=reason)
    if job.is_cancelled:
        end_unbegun(lost, JobStatus.CANCELLED, Reason.CANCELLED_BY, tx)
    elif job.epoch >= MAX_EPOCHS:
        end_unbegun(lost, JobStatus.ERRORED, Reason.BEGUN_TOO_OFTEN, tx)
    elif begun and not _may_go_on(job, stages, following):
        end_unbegun(lost, JobStatus.ERRORED, reason, tx)
    elif not has_come_on(job, stages):
        _begin_afresh(lost, tx)
    elif runner_lives and job.runner is not None:
        begin_job(lost, tx, queue=own_queue_of(job.runner))
    else:
        end_unbegun(lost, JobStatus.ERRORED, Reason.WORKSPACE_LOST, tx)


def _may_go_on(job: Job, stages: Sequence[Stage], following: Stage | None) -> bool:
    if following is None or any(stage.status is StageStatus.ERRORED for stage in stages):
        return False
    return is_begun_again(following.spec, following.attempts, job.on_lost)


def _end_as_its_stages(job: Job, stages: Sequence[Stage], tx: Tx) -> None:
    """Only the last record of the journal is missing: what its stages did is known."""
    status = end_of(stage.status for stage in stages)
    reason = reason_of(status, stages)
    if tx.jobs.move(job, status, reason=reason):
        told = {"job": str(job.id), "status": status, "reason": reason}
        tx.records.append(job.run_id, [(ControlEvent.JOB_ENDED, told)])
        advance_run(job.run_id, tx)


def _note_untold(job: Job, reason: Reason, tx: Tx) -> None:
    """Attempts that the holder had begun, and whose journal never came: lost as well, and counted.

    What they did to the world is done: the next attempt of such a stage is another one.
    """
    for key, number in tx.leases.begun(job.id, job.epoch):
        stage = next((stage for stage in tx.stages.of_job(job.id) if stage.key == key), None)
        if stage is None or stage.attempts >= number or stage.status in FINISHED_STAGE:
            continue
        attempt = Attempt(
            stage.id, number, job.id, job.epoch, AttemptStatus.RUNNING, None, job.runner or "", tx.now()
        )
        if tx.stages.start_attempt(attempt):
            tx.stages.end_attempt(
                stage.id, number, job.epoch, AttemptStatus.LOST, reason=reason, exit_code=None, error=None
            )


def _begin_afresh(job: Job, tx: Tx) -> None:
    """On any runner, or on the one that has the workspace that the job starts from."""
    queue = place_job(job, tx.jobs.of_run(job.run_id), tx)
    if queue is None:
        end_unbegun(job, JobStatus.ERRORED, Reason.WORKSPACE_LOST, tx)
    else:
        begin_job(job, tx, queue=queue)


def end_unbegun(job: Job, status: JobStatus, reason: Reason, tx: Tx) -> None:
    """Write the end of a job on which nobody works: the first stage that had not ended bears it, those after
    are skipped. Job and run clock must be locked.
    """
    bearer = StageStatus.CANCELLED if status is JobStatus.CANCELLED else StageStatus.ERRORED
    blamed = any(stage.status is StageStatus.ERRORED for stage in tx.stages.of_job(job.id))
    for stage in tx.stages.of_job(job.id):
        if stage.status is not StageStatus.PENDING:
            continue
        if bearer is StageStatus.CANCELLED or not blamed:
            tx.stages.move(stage, bearer, reason=reason)
            blamed = True
        else:
            tx.stages.move(stage, StageStatus.SKIPPED, reason=Reason.EARLIER_FAILURE)
    if tx.jobs.move(job, status, reason=reason):
        tx.records.append(
            job.run_id,
            [(ControlEvent.JOB_ENDED, {"job": str(job.id), "status": status, "reason": reason})],
        )
        advance_run(job.run_id, tx)
