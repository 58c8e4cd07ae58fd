"""The job that a runner acts for: its ticket counts only while it holds the job in that epoch."""

from rivet.domain.errors import Fenced
from rivet.domain.ids import Epoch, JobId, SessionId
from rivet.domain.job import Job
from rivet.domain.run import Run
from rivet.engine.ports import Tx


def held_job(job: JobId, epoch: Epoch, session: SessionId, tx: Tx, *, lock: bool = False) -> tuple[Job, Run]:
    """The job and its run. `lock`: nobody else takes it over before the transaction ends. Raises Fenced."""
    found = tx.jobs.lock(job) if lock else tx.jobs.get(job)
    if found is None or not found.is_held_in(epoch) or found.session != session:
        raise Fenced(f"job {job} is not held by this runner in epoch {epoch} any more")
    run = tx.runs.get(found.run_id)
    if run is None:
        raise Fenced(f"the run of job {job} is gone")
    return found, run
