"""End what was going on when a backup was made: nobody works on it where the backup was restored."""

from rivet.domain.ids import RunId
from rivet.domain.job import Job
from rivet.domain.record import ControlEvent
from rivet.domain.states import FINISHED_JOB, AttemptStatus, JobStatus, Reason, RunStatus, StageStatus
from rivet.engine.ports import Tx

BATCH = 200
_ENDS = {
    StageStatus.RUNNING: StageStatus.ERRORED,
    StageStatus.WAITING: StageStatus.CANCELLED,
    StageStatus.PENDING: StageStatus.SKIPPED,
}
"""What ran may have done anything, what waited for a person was not answered, the rest was not begun."""


def end_restored(tx: Tx) -> int:
    """How many runs were ended, as `errored` with the reason `restored`. `finally` has no turn: what it would
    tidy up is not here."""
    ended = 0
    while runs := tx.runs.going_on(BATCH):
        for run in runs:
            _end(run, tx)
        ended += len(runs)
    return ended


def _end(run_id: RunId, tx: Tx) -> None:
    jobs = tx.jobs.lock_of_run(run_id)
    run = tx.runs.lock(run_id)
    if run is None:
        raise LookupError(f"run {run_id} went away while it was locked")
    for job in jobs:
        if job.status not in FINISHED_JOB:
            _end_job(job, tx)
    if not tx.runs.move(run, RunStatus.ERRORED, reason=Reason.RESTORED):
        raise LookupError(f"run {run_id} moved while it was locked")
    told = {"status": RunStatus.ERRORED, "reason": Reason.RESTORED, "lines": run.lines}
    tx.records.append(run_id, [(ControlEvent.RUN_ENDED, told)])


def _end_job(job: Job, tx: Tx) -> None:
    for attempt in tx.stages.live_attempts(job.id):
        tx.stages.end_attempt(
            attempt.stage_id, attempt.number, attempt.epoch, AttemptStatus.LOST,
            reason=Reason.RESTORED, exit_code=None, error=None,
        )
    for stage in tx.stages.of_job(job.id):
        if stage.status in _ENDS:
            tx.stages.move(stage, _ENDS[stage.status], reason=Reason.RESTORED)
    if tx.jobs.move(job, JobStatus.ERRORED, reason=Reason.RESTORED):
        told = {"job": str(job.id), "status": JobStatus.ERRORED, "reason": Reason.RESTORED}
        tx.records.append(job.run_id, [(ControlEvent.JOB_ENDED, told)])
