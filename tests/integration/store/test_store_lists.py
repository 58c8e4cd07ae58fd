"""Lists of runs: whatever is asked for together, it is what looking at each run would find."""

from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import UUID

import pytest
from sqlalchemy import text

from rivet.store.read_runs import RunReads
from rivet.store.unit import PostgresStore
from tests.aged_runs import make_runs

NOW = datetime.now(UTC)
HOURS = [NOW - timedelta(hours=6 * ago) for ago in range(8)]


@pytest.fixture(scope="module")
def reads(database_url):
    """A pipeline `a` in two projects and a `b` in one, runs that failed, and one that goes on."""
    store = PostgresStore(database_url)
    with store.engine.begin() as connection:
        make_runs(connection, HOURS, pipeline="a")
        other = connection.execute(text("INSERT INTO project (slug) VALUES ('other') RETURNING id")).scalar_one()
        connection.execute(text("UPDATE pipeline SET project_id = :other"), {"other": other})
        connection.execute(text("UPDATE run SET project_id = :other, trigger = 'rerun'"), {"other": other})
        make_runs(connection, HOURS, pipeline="a")
        make_runs(connection, HOURS, pipeline="a", status="failed")
        make_runs(connection, HOURS, pipeline="b", status="failed")
        make_runs(connection, HOURS[:1], pipeline="b", status="running")
        # Of one the request was repeated later: its id is older than its row.
        connection.execute(
            text("UPDATE run SET created_at = created_at + interval '20 h' WHERE id = (SELECT id FROM run ORDER BY id LIMIT 1)")
        )
    yield RunReads(store.engine, 4.0)
    store.close()


@pytest.fixture
def listed(reads):
    def them(limit=500, **asked):
        wanted = dict.fromkeys(("project", "pipeline", "status", "trigger", "since", "until", "before"))
        return reads.page(**wanted | asked, limit=limit, base_url="http://x")

    return them


def test_whatever_is_asked_for_together_is_found(listed):
    everything, _ = listed()
    assert len(everything) == 4 * len(HOURS) + 1
    assert [run["id"] for run in everything] == sorted((run["id"] for run in everything), reverse=True)
    middle, early = NOW - timedelta(hours=15), NOW - timedelta(hours=27)
    for project, pipeline, status, trigger, since, until, before in product(
        (None, "default", "other", "none"), (None, "a", "b", "none"), (None, "failed", "running"), (None, "rerun"),
        (None, early), (None, middle), (None, UUID(everything[9]["id"])),
    ):
        asked = {
            "project": project, "pipeline": pipeline, "status": status, "trigger": trigger, "since": since,
            "until": until, "before": before,
        }
        expected = [
            run["id"] for run in everything
            if project in (None, run["project"]) and pipeline in (None, run["pipeline"])
            and status in (None, run["status"]) and trigger in (None, run["trigger"])
            and (since is None or datetime.fromisoformat(run["created_at"]) >= since)
            and (until is None or datetime.fromisoformat(run["created_at"]) < until)
            and (before is None or UUID(run["id"]) < before)
        ]  # fmt: skip
        assert [run["id"] for run in listed(**asked)[0]] == expected, asked


def test_pages_follow_each_other_over_projects(listed):
    found, before = [], None
    while True:
        items, after = listed(limit=3, pipeline="a", before=before)
        found += [run["id"] for run in items]
        if after is None:
            break
        before = UUID(after)
    assert found == [run["id"] for run in listed(pipeline="a")[0]]
    assert len(found) == 3 * len(HOURS)


def test_times_beyond_all_runs_find_all_or_none(listed):
    first, last = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
    assert len(listed(since=first, until=last)[0]) == 4 * len(HOURS) + 1
    assert listed(since=last) == ([], None)
    assert listed(until=first) == ([], None)
