"""Ids by time: a run's id begins with when it was made."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from rivet.domain.day import id_at, id_near

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_an_id_near_a_time_is_the_lowest_of_its_millisecond():
    assert id_near(NOON, HOUR) == id_at(NOON + HOUR)
    assert id_near(NOON, -HOUR) == id_at(NOON - HOUR)


def test_times_that_no_id_can_have_are_the_first_and_the_last_of_all():
    assert id_near(datetime(1, 1, 1, tzinfo=UTC), -HOUR) == UUID(int=0)
    assert id_near(datetime(9999, 12, 31, tzinfo=UTC), HOUR) == id_at(datetime(9999, 12, 31, 1, tzinfo=UTC))
