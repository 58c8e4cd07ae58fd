"""Drop caches that nothing has used for long, or that are too much for their project."""

from datetime import datetime, timedelta

from rivet.engine.ports import Store

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
    found = BATCH
    while found == BATCH:
        with store.begin() as tx:
            found = tx.expiry.drop_caches_over(most_bytes, BATCH)
        dropped += found
    return dropped
