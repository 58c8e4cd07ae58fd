"""Make the partitions of records for today and the days to come, so that no record has to wait for one."""

from datetime import datetime, timedelta

from rivet.domain.day import day_of
from rivet.engine.ports import Store

AHEAD_DAYS = 7


def open_days(*, store: Store, now: datetime | None = None) -> int:
    """How many were made. One too early does no harm; none while a backup is made. Raises Unavailable."""
    made = 0
    for ahead in range(AHEAD_DAYS):
        with store.begin() as tx:
            if not tx.parts.may_drop():
                return made
            made += tx.record_days.open(day_of(now or tx.now()) + timedelta(days=ahead))
    return made
