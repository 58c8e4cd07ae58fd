"""Keep a folder that is uploaded for runs to start from: as it was packed, never opened here."""

import hashlib
from collections.abc import Iterable

from rivet.domain.blob import PIECE_BYTES, Manifest
from rivet.domain.errors import InvalidInput
from rivet.engine.keep_blob import keep_blob
from rivet.engine.keep_piece import keep_made_piece
from rivet.engine.kept_ports import BlobStore
from rivet.engine.ports import Store
from rivet.engine.save_pipeline import project_of

MOST_BYTES = 256 * 1024 * 1024
_ZSTD = b"\x28\xb5\x2f\xfd"


def keep_folder(
    project: str, digest: str, sent: Iterable[bytes], *, store: Store, blobs: BlobStore
) -> tuple[Manifest, bool]:
    """Store what is sent, piece by piece, under its digest; what it consists of, and whether it is new.

    Raises NotFound for the project, and InvalidInput for what is not packed with zstd, or not what its digest
    says: then nothing of it can be used.
    """
    with store.begin() as tx:
        home = project_of(project, tx).id
    whole, size, pieces, waiting = hashlib.sha256(), 0, list[str](), bytearray()
    for data in sent:
        whole.update(data)
        size += len(data)
        waiting += data
        if not pieces and len(waiting) >= len(_ZSTD):
            _check_beginning(waiting)
        while len(waiting) >= PIECE_BYTES:
            pieces.append(keep_made_piece(home, bytes(waiting[:PIECE_BYTES]), store=store, blobs=blobs))
            del waiting[:PIECE_BYTES]
    if not pieces:
        _check_beginning(waiting)
    if whole.hexdigest() != digest:
        raise InvalidInput(
            f"the folder that was sent has the SHA-256 {whole.hexdigest()}, and its address says {digest}"
        )
    if waiting:
        pieces.append(keep_made_piece(home, bytes(waiting), store=store, blobs=blobs))
    manifest = Manifest(size, digest, tuple(pieces))
    with store.begin() as tx:
        if tx.folders.touch(home, digest):
            return manifest, False
        blob = keep_blob(home, manifest, MOST_BYTES, "the folder", tx)
        is_new = tx.folders.add(home, digest, blob)
        if not is_new:
            tx.blobs.forget(blob)
        return manifest, is_new


def _check_beginning(sent: bytearray) -> None:
    if not sent.startswith(_ZSTD):
        raise InvalidInput("a folder is sent as a tar packed with zstd; what was sent begins otherwise")
