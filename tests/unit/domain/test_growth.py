"""Growth and the day on which there is no room any more."""

from datetime import UTC, datetime, timedelta

import pytest

from rivet.domain.growth import bytes_a_day, full_at

NOW = datetime(2030, 1, 15, tzinfo=UTC)


def hourly(days: float, size) -> list[tuple[datetime, int]]:
    return [(NOW - timedelta(hours=hour), int(size(-hour / 24))) for hour in range(int(days * 24), -1, -1)]


def test_the_slope_of_what_grows_evenly_is_its_growth():
    assert bytes_a_day(hourly(10, lambda day: 10**9 + day * 5_000_000)) == pytest.approx(5_000_000, rel=0.001)


def test_ups_and_downs_of_a_day_do_not_count_for_much():
    busy_by_day = hourly(10, lambda day: 10**9 + day * 10**7 + (10**6 if day % 1 > 0.5 else 0))
    assert bytes_a_day(busy_by_day) == pytest.approx(10**7, rel=0.05)


def test_too_little_says_nothing():
    assert bytes_a_day([]) is None
    assert bytes_a_day([(NOW, 1)]) is None
    assert bytes_a_day([(NOW, 1), (NOW + timedelta(minutes=90), 2)]) is None


def test_the_day_is_when_what_is_free_is_used_up():
    assert full_at(NOW, 10**9, 10**8) == NOW + timedelta(days=10)
    assert full_at(NOW, 10**9, 0) is None
    assert full_at(NOW, 10**9, -5) is None
    assert full_at(NOW, 10**9, None) is None
    assert full_at(NOW, 10**15, 1) is None
