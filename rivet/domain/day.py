"""The days of runs, in UTC: a run's id is a UUIDv7 that begins with its time, so each is a range of ids."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

_TIME_BITS_FROM = 80
_LAST_MS = 2**48 - 1


def first_id(day: date) -> UUID:
    """The lowest id of a run that is started on that day."""
    return id_at(datetime(day.year, day.month, day.day, tzinfo=UTC))


def id_at(time: datetime) -> UUID:
    """The lowest id of a run that is started in that millisecond."""
    return UUID(int=int(time.timestamp() * 1000) << _TIME_BITS_FROM)


def id_near(time: datetime, off: timedelta) -> UUID:
    """The lowest id of the millisecond that is `off` later, or of the nearest that an id can have."""
    later_ms = int((time.timestamp() + off.total_seconds()) * 1000)
    return UUID(int=min(max(later_ms, 0), _LAST_MS) << _TIME_BITS_FROM)


def ids_of(day: date) -> tuple[UUID, UUID]:
    """The lowest id of a run of that day, and the lowest of the day after."""
    return first_id(day), first_id(day + timedelta(days=1))


def day_of(at: datetime) -> date:
    return at.astimezone(UTC).date()
