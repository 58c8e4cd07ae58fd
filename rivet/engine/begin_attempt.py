"""Note that an attempt has begun, whoever says so first: its runner's lease or its journal."""

from rivet.domain.job import Job
from rivet.domain.stage import Attempt, Stage
from rivet.domain.states import AttemptStatus, StageStatus
from rivet.engine.ports import Tx


def begin_attempt(job: Job, stage: Stage, number: int, tx: Tx) -> None:
    """Nothing changes the second time. The job must be locked. Raises IllegalMove if the stage has ended."""
    tx.stages.start_attempt(
        Attempt(
            stage_id=stage.id,
            number=number,
            job_id=job.id,
            epoch=job.epoch,
            status=AttemptStatus.RUNNING,
            reason=None,
            runner=job.runner or "",
            started_at=tx.now(),
        )
    )
    if stage.status is not StageStatus.RUNNING:
        tx.stages.move(stage, StageStatus.RUNNING)
