"""Renew a job's lease, and learn whether to go on."""

from dataclasses import dataclass

from rivet.domain.ids import Epoch, JobId, SessionId
from rivet.domain.states import RunStatus
from rivet.engine.ports import Store


@dataclass(frozen=True, slots=True)
class LeaseAnswer:
    """`state` is `ok`, `cancelled` (stop the stage) or `fenced` (stop everything: another has the job)."""

    state: str
    ingested_seq: int


def renew_lease(job_id: JobId, epoch: Epoch, session: SessionId, *, store: Store) -> LeaseAnswer:
    """The holder says that it is at work."""
    with store.begin() as tx:
        job = tx.jobs.get(job_id)
        if job is None or not job.is_held_in(epoch) or not tx.leases.renew(job_id, epoch, session):
            return LeaseAnswer("fenced", 0)
        run = tx.runs.get(job.run_id)
        cancelled = run is None or run.status is RunStatus.CANCELLING or run.is_finished
        return LeaseAnswer("cancelled" if cancelled else "ok", job.ingested_seq)
