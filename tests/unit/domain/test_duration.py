"""Durations and sizes as people write them."""

import pytest

from rivet.domain.duration import read_duration, read_size


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(90, 90), (0.5, 0.5), ("90", 90), ("90s", 90), ("30m", 1800), ("2h", 7200), ("1.5h", 5400)],
)
def test_a_duration_is_seconds(given, seconds):
    assert read_duration(given) == seconds


@pytest.mark.parametrize(
    "given", [0, -1, float("inf"), float("nan"), True, None, "", "s", "-1s", "1d", "10; id", "٣s", {}, "0s"]
)
def test_what_is_no_duration_is_none(given):
    assert read_duration(given) is None


@pytest.mark.parametrize(
    ("given", "size"), [(5, 5), ("64MiB", 64 * 2**20), ("1GB", 10**9), ("10 kib", 10240)]
)
def test_a_size_is_bytes(given, size):
    assert read_size(given) == size


@pytest.mark.parametrize("given", [0, -1, 1.5, True, None, "", "MB", "0MB", "1TB", {}])
def test_what_is_no_size_is_none(given):
    assert read_size(given) is None
