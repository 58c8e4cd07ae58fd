"""Move the logs of ended runs out of the database, to where artifacts are; they are read as before."""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta

from rivet.domain.blob import PIECE_BYTES, Manifest
from rivet.domain.ids import ProjectId, RunId
from rivet.engine.keep_piece import keep_made_piece
from rivet.engine.kept_ports import BlobStore
from rivet.engine.ports import Store
from rivet.engine.retention_ports import Place

AFTER_S = 600.0
"""How long after a run's end: by then hardly anything comes late."""
LOOKED_BACK_DAYS = 7
BATCH, PAGE = 100, 16


def move_logs(*, store: Store, blobs: BlobStore, now: datetime | None = None) -> int:
    """How many runs' logs were moved. Runs that ended over a week ago are left as they are.

    Bytes are stored before anything refers to them, and leave the database in the transaction that does.
    Raises Unavailable.
    """
    moved, after = 0, None
    while True:
        with store.begin() as tx:
            present = now or tx.now()
            since = after or present - timedelta(days=LOOKED_BACK_DAYS)
            found = tx.moved_logs.to_move(since, present - timedelta(seconds=AFTER_S), BATCH)
        for run, project, _ in found:
            moved += _move(run, project, store, blobs)
        if len(found) < BATCH:
            return moved
        after = found[-1][2]


class _Gone(Exception):
    """The run was deleted meanwhile, or its day dropped: nothing is to refer to what was stored."""


def _move(run: RunId, project: ProjectId, store: Store, blobs: BlobStore) -> bool:
    places: list[Place] = []
    whole, pieces, waiting, size = hashlib.sha256(), list[str](), bytearray(), 0
    for pos, body in _bodies(run, store):
        places.append(Place(pos, size, len(body)))
        whole.update(body)
        size += len(body)
        waiting += body
        while len(waiting) >= PIECE_BYTES:
            pieces.append(keep_made_piece(project, bytes(waiting[:PIECE_BYTES]), store=store, blobs=blobs))
            del waiting[:PIECE_BYTES]
    if waiting:
        pieces.append(keep_made_piece(project, bytes(waiting), store=store, blobs=blobs))
    try:
        with store.begin() as tx:
            blob = None
            if places:
                blob = tx.blobs.add(project, Manifest(size, whole.hexdigest(), tuple(pieces)))
            if not tx.moved_logs.note(run, blob, places):
                raise _Gone
    except _Gone:
        return False
    return bool(places)


def _bodies(run: RunId, store: Store) -> Iterator[tuple[int, bytes]]:
    """In order, page by page."""
    after = 0
    while True:
        with store.begin() as tx:
            page = tx.moved_logs.bodies(run, after, PAGE)
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1][0]
