"""The days of runs, in UTC: a run's id is a UUIDv7 that begins with its time, so each is a range of ids."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

_TIME_BITS_FROM = 80


def first_id(day: date) -> UUID:
    """The lowest id of a run that is started on that day."""
    return id_at(datetime(day.year, day.month, day.day, tzinfo=UTC))


def id_at(time: datetime) -> UUID:
    """The lowest id of a run that is started in that millisecond."""
    return UUID(int=int(time.timestamp() * 1000) << _TIME_BITS_FROM)


def ids_of(day: date) -> tuple[UUID, UUID]:
    """The lowest id of a run of that day, and the lowest of the day after."""
    return first_id(day), first_id(day + timedelta(days=1))


def day_of(at: datetime) -> date:
    return at.astimezone(UTC).date()
