"""Find an artifact for a job that wants to download it."""

from rivet.domain.artifact import Artifact
from rivet.domain.errors import Expired, NotFound
from rivet.domain.ids import Epoch, JobId, RunId, SessionId
from rivet.domain.run import Run
from rivet.engine.held_job import held_job
from rivet.engine.ports import Store, Tx


def find_artifact(
    job: JobId, epoch: Epoch, session: SessionId, name: str, of_run: RunId | None, *, store: Store
) -> Artifact:
    """The artifact of the job's own run, or of another of the same project.

    Raises Fenced, NotFound, Expired.
    """
    with store.begin() as tx:
        _, run = held_job(job, epoch, session, tx)
        wanted = run if of_run is None else tx.runs.get(of_run)
        if wanted is None or wanted.project_id != run.project_id:
            raise NotFound(f'there is no run {of_run} in the project "{run.project}"')
        found = tx.artifacts.get(wanted.id, name)
        if found is None:
            refuse_expired(wanted, name, tx)
            raise NotFound(
                f'run {wanted.pipeline}#{wanted.number} has no artifact "{name[:100]}"; '
                f"`rivet artifact list {wanted.pipeline}#{wanted.number}` shows those that it has"
            )
        return found


def refuse_expired(run: Run, name: str, tx: Tx) -> None:
    """Raises Expired if it was there once."""
    at = tx.artifacts.expired_at(run.id, name)
    if at is not None:
        raise Expired(
            f'the artifact "{name}" of run {run.pipeline}#{run.number} expired on {at:%Y-%m-%d}; '
            "RIVET_KEEP_ARTIFACTS_DAYS and RIVET_KEEP_ARTIFACTS_MIB say how long artifacts stay",
            expired_at=at.isoformat(),
        )
