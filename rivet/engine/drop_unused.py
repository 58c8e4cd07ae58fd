"""Drop what nothing refers to any more: workspaces and kept files of ended runs, uploaded folders, versions
that were never published, blobs, and their pieces.
"""

from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from rivet.domain.ids import ProjectId
from rivet.engine.kept_ports import BlobStore, StoredPiece
from rivet.engine.ports import Store, Tx

KEPT_S = 24 * 3600.0
"""How long after a run's end its workspaces and kept files stay, so that something may go on from them."""
UNUSED_S = 24 * 3600.0
"""How long nothing may have used a piece, or referred to a blob, before it is dropped."""
FRESH_S = UNUSED_S / 2
"""A piece that was used within this time can be counted on; an older one is sent again where it is needed."""
BATCH = 200
"""Of pieces so many are looked at in one transaction: their bytes are deleted one by one while it waits."""
LOOK_AT = 1000
"""And of blobs so many."""


def drop_unused(*, store: Store, blobs: BlobStore, kept_s: float = KEPT_S, unused_s: float = UNUSED_S) -> int:
    """How many pieces were dropped; none while a backup is made. Raises Unavailable.

    What is sent meanwhile is safe by its age: nothing is dropped that was used lately, and a piece that may
    be dropped is not counted on (`keep_piece`). Bytes go before their note does, while the note is locked:
    should this process die in between, an old note without bytes is left, which nobody counts on either.
    """
    with store.begin() as tx:
        tx.snapshots.forget_of_ended(kept_s)
        tx.keeps.forget_of_ended(kept_s)
    unused = timedelta(seconds=unused_s)
    _until_none_is_left(lambda tx: tx.expiry.drop_versions(tx.now() - unused, BATCH), store)
    _until_none_is_left(lambda tx: tx.expiry.drop_folders(tx.now() - unused, BATCH), store)
    _forget_blobs(unused_s, store)
    return _drop_pieces(unused_s, store, blobs)


def _forget_blobs(unused_s: float, store: Store) -> None:
    after: UUID | None = None
    while True:
        with store.begin() as tx:
            _, after = tx.blobs.forget_unused(unused_s, after, LOOK_AT)
        if after is None:
            return


def _drop_pieces(unused_s: float, store: Store, blobs: BlobStore) -> int:
    dropped = 0
    after: StoredPiece | None = None
    while True:
        with store.begin() as tx:
            if not tx.parts.may_drop():
                return dropped
            taken, after = tx.blobs.take_unused_pieces(unused_s, after, BATCH)
            by_project: defaultdict[ProjectId, list[str]] = defaultdict(list)
            for project, digest in taken:
                by_project[project].append(digest)
            for project, digests in by_project.items():
                blobs.drop(project, digests)
        dropped += len(taken)
        if after is None:
            return dropped


def _until_none_is_left(forget: Callable[[Tx], int], store: Store) -> None:
    """In batches, each a transaction of its own."""
    forgotten = BATCH
    while forgotten == BATCH:
        with store.begin() as tx:
            forgotten = forget(tx)
