"""Watch times: end what its runner should have ended for having run out of its time, and did not."""

from rivet.domain.ids import JobId
from rivet.domain.job import Job
from rivet.domain.record import ControlEvent
from rivet.domain.states import AttemptStatus, JobStatus, Reason, StageStatus
from rivet.engine.advance_run import advance_run
from rivet.engine.ports import Store, Tx

GRACE_S = 30.0
"""Beyond a timeout: a runner stops a stage by itself, gives it 10 s to end, and then has to say so."""

_ERROR = {"message": "its runner did not stop it when its time was over", "file": None, "line": None}


def watch_times(lease_s: float, *, store: Store) -> int:
    """How many attempts were ended: those that run for longer than their stage's timeout, and the grace.

    A runner counts its stages' time itself. One that lives and renews, but does not stop, is a defect or a
    clock that stands still: its job is taken from it, and it is told so when it renews the next time.
    """
    with store.begin() as tx:
        overdue = tx.stages.overdue(GRACE_S + lease_s)
    return sum(_end(job, lease_s, store) for job in overdue)


def _end(job_id: JobId, lease_s: float, store: Store) -> bool:
    with store.begin() as tx:
        job = tx.jobs.lock_with_run(job_id)
        if job is None or job_id not in tx.stages.overdue(GRACE_S + lease_s):
            return False
        tx.runs.lock(job.run_id)
        for attempt in tx.stages.live_attempts(job_id):
            tx.stages.end_attempt(
                attempt.stage_id, attempt.number, attempt.epoch, AttemptStatus.TIMED_OUT,
                reason=Reason.LIMIT_STAGE_TIME, exit_code=None, error=_ERROR,
            )
        _end_stages(job, tx)
        if tx.jobs.move(job, JobStatus.TIMED_OUT, reason=Reason.LIMIT_STAGE_TIME):
            ended = {"job": str(job.id), "status": JobStatus.TIMED_OUT, "reason": Reason.LIMIT_STAGE_TIME}
            tx.records.append(job.run_id, [(ControlEvent.JOB_ENDED, ended)])
            advance_run(job.run_id, tx)
        return True


def _end_stages(job: Job, tx: Tx) -> None:
    for stage in tx.stages.of_job(job.id):
        if stage.status is StageStatus.RUNNING:
            tx.stages.move(stage, StageStatus.TIMED_OUT, reason=Reason.LIMIT_STAGE_TIME)
        elif stage.status is StageStatus.PENDING:
            tx.stages.move(stage, StageStatus.SKIPPED, reason=Reason.EARLIER_FAILURE)
