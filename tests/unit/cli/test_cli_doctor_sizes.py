"""What `rivet doctor` says of sizes, growth and the day the disk is full."""

from datetime import UTC, datetime

import pytest

from rivet.cli.doctor import of_sizes

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def told(bytes_per_day, full_at=None):
    items = [
        {"name": "logs", "bytes": 3 * 2**30, "bytes_per_day": 100 * 2**20, "on_disk": True},
        {"name": "Redis", "bytes": 2**20, "bytes_per_day": -2048, "on_disk": True},
        {"name": "blobs", "bytes": 0, "bytes_per_day": None, "on_disk": False},
    ]
    disk = {"path": "/h", "total": 2**40, "free": 2**30, "bytes_per_day": bytes_per_day, "full_at": full_at}
    return {"items": items, "disk": disk, "sampled_since": None}


def test_each_size_is_told_with_its_growth():
    stored, _ = of_sizes(told(None), NOW)
    assert stored.detail == "logs 3.0 GiB (+100.0 MiB a day), Redis 1.0 MiB (-2.0 KiB a day), blobs 0 B"


@pytest.mark.parametrize(
    ("rate", "full_at", "state", "said"),
    [
        (None, None, "ok", "known after some hours"),
        (0, None, "ok", "does not grow"),
        (2**20, "2032-09-20T00:00:00Z", "ok", "at +1.0 MiB a day it is full on 2032-09-20"),
        (2**27, "2030-01-09T00:00:00Z", "note", "at +128.0 MiB a day it is full on 2030-01-09"),
    ],
)
def test_the_day_on_which_the_disk_is_full(rate, full_at, state, said):
    _, growth = of_sizes(told(rate, full_at), NOW)
    assert (growth.state, "/h has 1.0 GiB free" in growth.detail) == (state, True)
    assert said in growth.detail
    assert bool(growth.mend) == (state == "note")
