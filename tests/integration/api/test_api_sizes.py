"""How much everything takes, as the API tells it."""

from datetime import UTC, datetime, timedelta

import pytest

from rivet.domain.retention import TABLES
from rivet.engine.note_sizes import EVERY_S, KEPT_DAYS, note_sizes
from rivet.store.sizes import SizeReads

NOW = datetime.now(UTC)


def test_every_group_of_the_ledger_has_a_size(api):
    told = api.ask("GET", "/sizes").json
    sizes = {one["name"]: one for one in told["items"]}
    assert {kept.group for kept in TABLES} | {"blobs"} <= set(sizes)
    assert sizes["runs"]["bytes"] > 0
    assert sizes["logs"]["bytes"] > 0
    assert sizes["runs"]["bytes_per_day"] is None
    assert told["disk"]["free"] > 0
    assert told["disk"]["full_at"] is None


def test_growth_is_told_once_there_are_samples_and_foretells_the_day(api, store):
    home = api.log.parent
    (home / "redis").mkdir()
    rate = api.ask("GET", "/sizes").json["disk"]["free"] // 40  # full in 40 days
    for hours in range(72, -1, -1):
        note_sizes(
            {"Redis": 10**15 - rate * hours // 24, "runners' folders": 0}, store=store, now=NOW - timedelta(hours=hours)
        )
    told = api.ask("GET", "/sizes").json
    sizes = {one["name"]: one for one in told["items"]}
    assert sizes["Redis"]["bytes_per_day"] == pytest.approx(rate, rel=0.01)
    assert told["disk"]["bytes_per_day"] == pytest.approx(rate, rel=0.01)
    full = datetime.fromisoformat(told["disk"]["full_at"])
    assert (full - NOW).days == pytest.approx(40, abs=2)


def test_samples_are_bounded(store):
    first = NOW + timedelta(days=1)
    note_sizes({"x": 1}, store=store, now=first)
    note_sizes({"x": 2}, store=store, now=first + timedelta(seconds=EVERY_S / 2))
    reads = SizeReads(store.engine)
    assert reads.samples(first)["x"] == [(first, 1)]
    note_sizes({"x": 3}, store=store, now=first + timedelta(days=KEPT_DAYS + 1))
    assert [size for _, size in reads.samples(NOW)["x"]] == [3]
