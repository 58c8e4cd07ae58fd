"""Let go of what artifacts hold when they are old, or when a project has too much: their names stay."""

from datetime import datetime, timedelta

from rivet.engine.ports import Store
from rivet.engine.retention_ports import Held
from rivet.engine.room_of_projects import RoomOfProjects

BATCH = 500


def expire_artifacts(
    keep_days: int, most_bytes: int, *, store: Store, now: datetime | None = None
) -> int:
    """How many expired. Raises Unavailable.

    Their bytes go with all else that nothing refers to. Those of a run that goes on stay, and by age those of
    the last run of a pipeline that passed; `most_bytes` is of each project, the oldest go first.
    """
    expired, found = 0, BATCH
    while found == BATCH:
        with store.begin() as tx:
            present = now or tx.now()
            found = tx.expiry.expire_artifacts(present, present - timedelta(days=keep_days), BATCH)
        expired += found
    return expired + _expire_over(most_bytes, store, now)


def _expire_over(most_bytes: int, store: Store, now: datetime | None) -> int:
    """A page of all that is held at a time, from the newest on."""
    expired, room, page = 0, RoomOfProjects(most_bytes), list[Held]()
    while True:
        with store.begin() as tx:
            page = list(tx.expiry.artifacts_held(page[-1] if page else None, BATCH))
            if over := room.has_no_room_for(page):
                expired += tx.expiry.expire_these_artifacts(now or tx.now(), over)
        if len(page) < BATCH:
            return expired
