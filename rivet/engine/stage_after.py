"""What becomes of a stage when an attempt of it has ended."""

from rivet.domain.job import MAX_EPOCHS, Job
from rivet.domain.stage import Stage, after_attempt, is_begun_again
from rivet.domain.states import AttemptStatus, JobStatus, Reason, StageStatus


def stage_after(
    status: AttemptStatus, job: Job, stage: Stage, number: int, reason: Reason | None, exit_code: int | None
) -> StageStatus:
    """What a stage becomes whose attempt ended so: a lost one is begun again where the job may be."""
    if status is not AttemptStatus.LOST:
        return after_attempt(status, number, reason, exit_code, stage.spec)
    again = is_begun_again(stage.spec, number, job.on_lost) and job.epoch < MAX_EPOCHS
    return StageStatus.PENDING if again and job.status is JobStatus.RUNNING else StageStatus.ERRORED
