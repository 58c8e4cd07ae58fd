"""Keep a cache under its key; a key that is there already is never written over."""

from rivet.domain.artifact import Contents
from rivet.domain.cache import Shelf, checked_key
from rivet.domain.ids import Epoch, JobId, SessionId
from rivet.domain.run import Run
from rivet.engine.held_job import held_job
from rivet.engine.keep_blob import keep_blob
from rivet.engine.ports import Store


def keep_cache(
    job: JobId,
    epoch: Epoch,
    session: SessionId,
    key: str,
    contents: Contents,
    *,
    most_bytes: int,
    store: Store,
) -> bool:
    """Put it on the shelf of the run's pipeline and branch; False where the key was there.

    Raises Fenced, InvalidInput.
    """
    checked_key(key)
    with store.begin() as tx:
        _, run = held_job(job, epoch, session, tx, lock=True)
        blob = keep_blob(run.project_id, contents.blob, most_bytes, f'cache "{key}"', tx)
        kept = tx.caches.add(shelf_of(run), key, contents, blob)
        if not kept:
            tx.blobs.forget(blob)
        return kept


def shelf_of(run: Run) -> Shelf:
    """Where a run's caches are: on its branch, the empty one being the default branch."""
    branch = str(run.facts.get("branch") or "")
    is_default = branch == run.facts.get("default_branch")
    return Shelf(run.project_id, run.pipeline_id, "" if is_default else branch)
