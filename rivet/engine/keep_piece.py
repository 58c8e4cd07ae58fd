"""Keep a piece of a blob that a runner sends: once, however often it is sent."""

import hashlib
from collections.abc import Sequence

from rivet.domain.ids import Epoch, JobId, ProjectId, SessionId
from rivet.engine.drop_unused import FRESH_S
from rivet.engine.held_job import held_job
from rivet.engine.kept_ports import BlobStore
from rivet.engine.ports import Store


def keep_piece(
    job: JobId,
    epoch: Epoch,
    session: SessionId,
    digest: str,
    packed: bytes,
    *,
    store: Store,
    blobs: BlobStore,
) -> None:
    """Store `packed` under its digest, in the job's project; nothing is written if it is there already.

    It is noted only once it is stored. One that had not been used for long may have been dropped between the
    two: once noted it is safe, so it is stored again then. Raises Fenced, and InvalidInput for what is not
    what its digest says.
    """
    with store.begin() as tx:
        _, run = held_job(job, epoch, session, tx)
        if tx.blobs.touch_piece(run.project_id, digest, FRESH_S):
            return
    size = blobs.put(run.project_id, digest, packed)
    with store.begin() as tx:
        tx.blobs.add_piece(run.project_id, digest, size, len(packed))
    if not blobs.has(run.project_id, digest):
        blobs.put(run.project_id, digest, packed)


def keep_made_piece(project: ProjectId, content: bytes, *, store: Store, blobs: BlobStore) -> str:
    """Store a piece that was cut here; its digest."""
    digest = hashlib.sha256(content).hexdigest()
    with store.begin() as tx:
        if tx.blobs.touch_piece(project, digest, FRESH_S):
            return digest
    stored = blobs.add(project, digest, content)
    with store.begin() as tx:
        tx.blobs.add_piece(project, digest, len(content), stored)
    if not blobs.has(project, digest):
        # It was dropped in between; once noted it is safe.
        blobs.add(project, digest, content)
    return digest


def missing_pieces(
    job: JobId, epoch: Epoch, session: SessionId, digests: Sequence[str], *, store: Store
) -> list[str]:
    """Those that must be sent; the others count as used now. Raises Fenced."""
    with store.begin() as tx:
        _, run = held_job(job, epoch, session, tx)
        return [digest for digest in digests if not tx.blobs.touch_piece(run.project_id, digest, FRESH_S)]
