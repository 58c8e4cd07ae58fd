"""Logs that were moved to the store of artifacts, through the API: the same bytes as before."""

from datetime import UTC, datetime, timedelta

import pytest

from rivet.blobs.stored import open_blobs
from rivet.engine.move_logs import move_logs
from tests.aged_runs import make_runs

NOW = datetime.now(UTC)
PATHS = ("logs", "logs?raw=1", "logs?format=ndjson", "logs?tail=3", "logs?from_line=3", "events")


@pytest.fixture(scope="module")
def before_and_after(api, store):
    with store.engine.begin() as connection:
        run = make_runs(connection, [NOW - timedelta(hours=1)], pipeline="moved", chunks=5, width=2000)[0]
    before = {path: api.ask("GET", f"/runs/{run}/{path}") for path in PATHS}
    assert move_logs(store=store, blobs=open_blobs("", api.log.parent / "artifacts"), now=NOW) == 1
    return before, {path: api.ask("GET", f"/runs/{run}/{path}") for path in PATHS}


@pytest.mark.parametrize("path", PATHS)
def test_whatever_is_asked_of_the_log_is_answered_as_before(before_and_after, path):
    before, after = (answers[path] for answers in before_and_after)
    assert (before.status, after.status) == (200, 200)
    assert after.body == before.body
    assert len(before.body) > 2000
