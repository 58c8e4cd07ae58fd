"""Note that an attempt has begun, whoever says so first: its runner's lease or its journal."""

from rivet.domain.job import Job
from rivet.domain.stage import Attempt, Stage
from rivet.domain.states import AttemptStatus, StageStatus
from rivet.domain.transitions import STAGE
from rivet.engine.ports import Tx


def begin_attempt(job: Job, stage: Stage, number: int, tx: Tx) -> None:
    """Nothing changes the second time. The job must be locked. Raises IllegalMove if the stage has ended.

    A lease may speak of an attempt before the journal has brought the end of the one before it: a job has one
    live attempt, so that is passed over, and the journal says it again.
    """
    if stage.status is StageStatus.RUNNING:
        return
    STAGE.check(stage.status, StageStatus.RUNNING)
    tx.stages.begin(
        stage,
        Attempt(
            stage_id=stage.id,
            number=number,
            job_id=job.id,
            epoch=job.epoch,
            status=AttemptStatus.RUNNING,
            reason=None,
            runner=job.runner or "",
            started_at=tx.now(),
        ),
    )
