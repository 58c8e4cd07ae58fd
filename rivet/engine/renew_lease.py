"""Renew a job's lease, and learn whether to go on."""

from dataclasses import dataclass

from rivet.domain.ids import Epoch, JobId, SessionId, StageKey
from rivet.domain.stage import CancelScope
from rivet.domain.states import FINISHED_STAGE, StageStatus
from rivet.engine.begin_attempt import begin_attempt
from rivet.engine.ports import Store, Tx


@dataclass(frozen=True, slots=True)
class LeaseAnswer:
    """`state` is `ok`, `cancelled` (stop the stage) or `fenced` (stop everything: another has the job).

    `scope` says what was cancelled.
    """

    state: str
    ingested_seq: int
    scope: CancelScope = "run"


def renew_lease(
    job_id: JobId,
    epoch: Epoch,
    session: SessionId,
    begun: tuple[StageKey, int] | None = None,
    *,
    store: Store,
) -> LeaseAnswer:
    """The holder says that it is at work, and which attempt it has `begun`: a stage's key and a number.

    That an attempt has begun must be known before it does anything that must not happen twice, also where
    the journal is slow: a job in which nothing has begun is begun again whatever its `on_lost` says.
    """
    with store.begin() as tx:
        if begun is not None:
            tx.leases.note_begun(job_id, epoch, session, *begun)
            _note_begun(job_id, epoch, session, begun, tx)
        job = tx.jobs.get(job_id)
        if job is None or not job.is_held_in(epoch) or not tx.leases.renew(job_id, epoch, session):
            return LeaseAnswer("fenced", 0)
        run = tx.runs.get(job.run_id)
        if run is None or run.is_finished or job.is_cancelled:
            return LeaseAnswer("cancelled", job.ingested_seq)
        at_work = [stage for stage in tx.stages.of_job(job_id) if stage.status is StageStatus.RUNNING]
        if any(stage.cancelled_by for stage in at_work):
            return LeaseAnswer("cancelled", job.ingested_seq, "stage")
        return LeaseAnswer("ok", job.ingested_seq)


def _note_begun(
    job_id: JobId, epoch: Epoch, session: SessionId, begun: tuple[StageKey, int], tx: Tx
) -> None:
    job = tx.jobs.lock(job_id)
    if job is None or not job.is_held_in(epoch) or job.session != session:
        return
    key, number = begun
    for stage in tx.stages.of_job(job_id):
        if stage.key == key:
            if stage.status is StageStatus.PENDING and stage.attempts == number - 1:
                begin_attempt(job, stage, number, tx)
            return
        if stage.status not in FINISHED_STAGE:
            # Its journal is on its way: begun now, this one would stand where that one has to. The lease
            # has it, for the case that the journal never comes.
            return
