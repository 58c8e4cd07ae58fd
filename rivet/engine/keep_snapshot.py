"""Keep the workspace that a job leaves, whose pieces have all been sent."""

from rivet.domain.artifact import Contents
from rivet.domain.errors import InvalidInput
from rivet.domain.ids import Epoch, JobId, SessionId
from rivet.engine.held_job import held_job
from rivet.engine.keep_blob import keep_blob
from rivet.engine.ports import Store


def keep_snapshot(
    job: JobId, epoch: Epoch, session: SessionId, contents: Contents, *, most_bytes: int, store: Store
) -> None:
    """Later jobs of the run can then start from it on any runner. Raises Fenced, InvalidInput."""
    if contents.form != "tar":
        raise InvalidInput("form: a workspace is stored as a tar")
    with store.begin() as tx:
        held, run = held_job(job, epoch, session, tx, lock=True)
        blob = keep_blob(run.project_id, contents.blob, most_bytes, "the workspace", tx)
        tx.snapshots.put(held, contents, blob)
