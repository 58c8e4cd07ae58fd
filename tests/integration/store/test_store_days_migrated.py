"""A database of before, with its records in one table: they become a day of their own, and stay readable."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from rivet.domain.ids import RunId
from rivet.domain.record import ControlEvent
from rivet.engine.drop_days import drop_days
from rivet.store.connect import engine_for
from rivet.store.migrate import bring_to, migrate_database
from rivet.store.read_records import RecordReads, Wanted
from rivet.store.unit import PostgresStore
from tests.aged_runs import make_runs

NOW = datetime.now(UTC)


@pytest.fixture
def url(postgres):
    postgres.execute("CREATE DATABASE of_before")
    yield postgres.dsn("of_before")
    postgres.execute("DROP DATABASE of_before WITH (FORCE)")


def at_step(url, step):
    with engine_for(url).begin() as connection:
        bring_to(step, connection)


def test_what_was_there_becomes_a_partition_as_it_stands(url):
    at_step(url, "0012")
    with engine_for(url).begin() as connection:
        runs = [RunId(run) for run in make_runs(connection, [NOW - timedelta(days=days) for days in (60, 2, 0)])]
        made = connection.execute(text("SELECT pg_relation_filenode('record'), pg_relation_filenode('record_log')")).one()
    migrate_database(url)
    store = PostgresStore(url)
    with store.engine.connect() as connection:
        asked = text("SELECT pg_relation_filenode('record_before'), pg_relation_filenode('record_before_log')")
        assert connection.execute(asked).one() == made
        assert connection.execute(text("SELECT count(*) FROM ONLY record_before")).scalar_one() == 6
    reads = RecordReads(store.engine)
    assert all(len(list(reads.log(Wanted(run)))) == 1 and reads.end_of(run) == 3 for run in runs)
    with store.begin() as tx:
        tx.records.append(runs[2], [(ControlEvent.CANCEL_ASKED, {"actor": "alice"})])
    assert len(reads.after(runs[2], 0, 10)) == 3
    with store.engine.begin() as connection:
        later = RunId(make_runs(connection, [NOW + timedelta(days=2)])[0])
        where = text("SELECT DISTINCT tableoid::regclass::text FROM record WHERE run_id = :run")
        assert connection.execute(where, {"run": later}).scalars().all() == [f"record_{NOW + timedelta(days=2):%Y%m%d}"]
    assert drop_days(30, store=store, now=NOW) == 0
    assert drop_days(30, store=store, now=NOW + timedelta(days=31, hours=1)) == 1
    assert not list(reads.log(Wanted(runs[2])))
    store.close()
