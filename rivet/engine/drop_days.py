"""Drop the logs of runs that ended long ago: whole days of records at once, never row by row."""

from datetime import datetime, timedelta

from rivet.domain.day import id_at
from rivet.engine.ports import Store

BATCH = 1000


def drop_days(keep_days: int, *, store: Store, now: datetime | None = None) -> int:
    """How many days were dropped. Raises Unavailable.

    A day stays while one run of it goes on, or ended less than `keep_days` ago. What comes late for a day
    that is gone is swept up. None is dropped while a backup is made.
    """
    with store.begin() as tx:
        present = now or tx.now()
        ended_before = present - timedelta(days=keep_days)
        days = [day for day in tx.record_days.all() if day.after <= id_at(ended_before)]
    dropped = 0
    for day in days:
        with store.begin() as tx:
            if not tx.parts.may_drop():
                return dropped
            dropped += tx.record_days.drop(day, ended_before, present)
    swept = BATCH
    while swept == BATCH:
        with store.begin() as tx:
            swept = tx.record_days.sweep(BATCH)
    with store.begin() as tx:
        tx.record_days.forget_notes()
    return dropped
