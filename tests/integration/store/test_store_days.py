"""Records lie in a partition a day, which goes whole: once no run of it is wanted, and never before."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from rivet.domain.day import day_of, first_id
from rivet.domain.ids import RunId
from rivet.domain.record import ControlEvent
from rivet.engine.drop_days import drop_days
from rivet.engine.open_days import AHEAD_DAYS, open_days
from rivet.store.read_records import RecordReads, Wanted
from rivet.store.read_runs import RunReads
from tests.aged_runs import make_runs

NOW = datetime.now(UTC)
MONTH = [NOW + timedelta(days=40 + day) for day in range(4)]  # days that no other test has


@pytest.fixture
def days(store):
    def known():
        with store.begin() as tx:
            return {day.name: day for day in tx.record_days.all()}

    return known


def runs_of(store, starts, **told):
    with store.engine.begin() as connection:
        return [RunId(run) for run in make_runs(connection, starts, **told)]


def place_of(store, run):
    with store.engine.connect() as connection:
        asked = text("SELECT DISTINCT tableoid::regclass::text FROM record WHERE run_id = :run")
        return connection.execute(asked, {"run": run}).scalars().all()


def name_of(at):
    return f"record_{day_of(at):%Y%m%d}"


def test_days_are_made_ahead_and_making_them_again_does_no_harm(store, days):
    assert open_days(store=store, now=MONTH[0]) == AHEAD_DAYS
    assert open_days(store=store, now=MONTH[0]) == 0
    assert {name_of(at) for at in MONTH} <= set(days())
    assert place_of(store, runs_of(store, [MONTH[1]])[0]) == [name_of(MONTH[1])]


def test_records_that_no_day_covers_are_moved_to_theirs_when_it_is_made(store):
    at = NOW + timedelta(days=400)
    run = runs_of(store, [at])[0]
    assert place_of(store, run) == ["record_other"]
    with store.begin() as tx:
        assert tx.record_days.open(day_of(at))
    assert place_of(store, run) == [name_of(at)]
    assert [block.texts for block in RecordReads(store.engine).log(Wanted(run))]


def test_a_day_goes_when_all_of_its_runs_ended_long_ago(store, days):
    at = NOW + timedelta(days=500)
    with store.begin() as tx:
        tx.record_days.open(day_of(at))
    drop_days(30, store=store, now=at)  # those of other tests
    early, goes_on = runs_of(store, [at]) + runs_of(store, [at], status="waiting")
    reads = RunReads(store.engine, 12.0)
    assert drop_days(30, store=store, now=at + timedelta(days=60)) == 0
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE run SET status = 'passed', ended_at = created_at + interval '50 days' WHERE id = :r"), {"r": goes_on})
    assert drop_days(30, store=store, now=at + timedelta(days=79)) == 0
    assert reads.logs_expired_at(early) is None
    dropped_at = at + timedelta(days=82)
    assert drop_days(30, store=store, now=dropped_at) == 1
    assert name_of(at) not in days()
    for run in (early, goes_on):
        assert place_of(store, run) == []
        assert reads.logs_expired_at(run) == dropped_at
        assert reads.one(run, "")["logs_expired_at"].startswith(f"{dropped_at:%Y-%m-%d}")


def test_what_comes_late_for_a_day_that_is_gone_is_swept_up(store):
    at = NOW + timedelta(days=600)
    with store.begin() as tx:
        tx.record_days.open(day_of(at))
    run = runs_of(store, [at])[0]
    late = at + timedelta(days=60)
    assert drop_days(30, store=store, now=late) >= 1
    with store.begin() as tx:
        tx.records.append(run, [(ControlEvent.RUN_ENDED, {})])
    assert place_of(store, run) == ["record_other"]
    drop_days(30, store=store, now=late)
    assert place_of(store, run) == []


def test_notes_of_dropped_days_go_with_the_last_run_of_that_day(store):
    at = NOW + timedelta(days=700)
    with store.begin() as tx:
        tx.record_days.open(day_of(at))
    run = runs_of(store, [at])[0]
    drop_days(30, store=store, now=at + timedelta(days=60))
    noted = text("SELECT count(*) FROM dropped_day WHERE from_id = :first")
    with store.engine.begin() as connection:
        assert connection.execute(noted, {"first": first_id(day_of(at))}).scalar_one() == 1
        connection.execute(text("DELETE FROM run WHERE id = :run"), {"run": run})
    drop_days(30, store=store, now=at + timedelta(days=61))
    with store.engine.connect() as connection:
        assert connection.execute(noted, {"first": first_id(day_of(at))}).scalar_one() == 0


@pytest.mark.parametrize(
    "asked",
    [
        "SELECT run_id, pos, data, body FROM record WHERE run_id = '{run}' AND pos > 1 ORDER BY pos LIMIT 8",
        "SELECT pos FROM record WHERE run_id = '{run}' AND type = 'run_ended' ORDER BY pos LIMIT 1",
        "SELECT pos, lines FROM record WHERE run_id = '{run}' AND type = 'log' AND stage = 'build' ORDER BY pos",
        "SELECT stage FROM record WHERE run_id = '{run}' AND type = 'annotation' ORDER BY pos LIMIT 100",
        "DELETE FROM record WHERE run_id IN ('{run}')",
    ],
)
def test_what_is_asked_of_one_run_is_asked_of_its_day_alone(store, asked):
    open_days(store=store, now=MONTH[0])
    run = runs_of(store, [MONTH[2]])[0]
    with store.engine.connect() as connection:
        plan = "\n".join(connection.execute(text(f"EXPLAIN {asked.format(run=run)}")).scalars())
    assert name_of(MONTH[2]) in plan
    assert "record_other" not in plan
    assert name_of(MONTH[1]) not in plan
