"""Drop caches that nothing has used for long, or that are too much for their project."""

from datetime import datetime, timedelta

from rivet.engine.ports import Store
from rivet.engine.retention_ports import Held
from rivet.engine.room_of_projects import RoomOfProjects

BATCH = 500


def drop_caches(keep_days: int, most_bytes: int, *, store: Store, now: datetime | None = None) -> int:
    """How many were dropped. `most_bytes` is of each project: what was used last stays.

    Raises Unavailable.
    """
    dropped, found = 0, BATCH
    while found == BATCH:
        with store.begin() as tx:
            found = tx.expiry.drop_caches((now or tx.now()) - timedelta(days=keep_days), BATCH)
        dropped += found
    return dropped + _drop_over(most_bytes, store)


def _drop_over(most_bytes: int, store: Store) -> int:
    """A page of all that is held at a time, from what was used last on."""
    dropped, room, page = 0, RoomOfProjects(most_bytes), list[Held]()
    while True:
        with store.begin() as tx:
            page = list(tx.expiry.caches_held(page[-1] if page else None, BATCH))
            if over := room.has_no_room_for(page):
                dropped += tx.expiry.drop_these_caches(over)
        if len(page) < BATCH:
            return dropped
