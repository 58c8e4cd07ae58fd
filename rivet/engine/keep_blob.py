"""Keep a blob whose pieces have all been sent: what artifacts, caches and snapshots refer to."""

from uuid import UUID

from rivet.domain.blob import Manifest, shown_size
from rivet.domain.errors import InvalidInput
from rivet.domain.ids import ProjectId
from rivet.engine.ports import Tx


def keep_blob(project: ProjectId, manifest: Manifest, most_bytes: int, what: str, tx: Tx) -> UUID:
    """The blob's id. `what` names the thing in messages, such as `artifact "dist"`.

    Raises InvalidInput where it is over `most_bytes`, or a piece is missing or of another size than the
    manifest gives it: then the sizes told would not be those of the bytes.
    """
    if manifest.size > most_bytes:
        raise InvalidInput(too_large(what, manifest.size, most_bytes))
    there = tx.blobs.sizes(project, manifest.pieces)
    for place, digest in enumerate(manifest.pieces):
        if digest not in there:
            raise InvalidInput(f"{what}: piece {place + 1} was never sent: {digest}")
        if there[digest] != manifest.size_of(place):
            raise InvalidInput(
                f"{what}: piece {place + 1} has {there[digest]} bytes, by the blob's size it would have "
                f"{manifest.size_of(place)}"
            )
    return tx.blobs.add(project, manifest)


def too_large(what: str, size: int, most_bytes: int) -> str:
    return f"{what} has {shown_size(size)}, the operator allows {shown_size(most_bytes)}"
