"""A database of the first version, full of runs of which some go on, is brought to this version's schema."""

import threading
import time

import pytest
import zstandard
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from rivet.domain.ids import RunId
from rivet.store.connect import engine_for
from rivet.store.read_records import RecordReads, Wanted
from rivet.store.read_runs import RunReads
from rivet.wiring.schema import migrate, require_schema
from tests.measure.old_database import OLD, bring_to, fill

RUNS = 2000
LINE = "x" * 200
_COUNTS = "SELECT (SELECT count(*) FROM run), (SELECT count(*) FROM record), (SELECT count(*) FROM stage)"
_BEAT = "UPDATE run_clock SET lines = lines + 1 WHERE run_id = (SELECT id FROM run WHERE status = 'running' LIMIT 1)"


@pytest.fixture
def old_url(postgres, request):
    name = f"old_{abs(hash(request.node.name)) % 10**9}"
    postgres.execute(f"CREATE DATABASE {name}")
    yield postgres.dsn(name)
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def full(old_url):
    bring_to(old_url, OLD)
    fill(old_url, RUNS, zstandard.compress(LINE.encode()))
    engine = engine_for(old_url, pool_size=2)
    yield engine
    engine.dispose()


def test_nothing_is_lost_and_what_goes_on_goes_on(full, old_url):
    with full.connect() as connection:
        before = connection.execute(text(_COUNTS)).one()
        run = connection.execute(text("SELECT id FROM run ORDER BY id LIMIT 1 OFFSET 700")).scalar_one()
    beats, over = [], threading.Event()

    def go_on():
        while not over.is_set():
            try:
                with full.begin() as connection:
                    beats.append((time.monotonic(), connection.execute(text(_BEAT)).rowcount))
            except DBAPIError:
                beats.append((time.monotonic(), 0))
            over.wait(0.01)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        migrate(old_url)
        migrated = time.monotonic()
        while not any(at > migrated and count for at, count in beats):
            assert time.monotonic() < migrated + 20
            time.sleep(0.01)
    finally:
        over.set()
        thread.join()
    require_schema(old_url)
    with full.connect() as connection:
        assert connection.execute(text(_COUNTS)).one() == before
    lines = [line.text for block in RecordReads(full).log(Wanted(RunId(run))) for line in block.lines]
    assert lines == [LINE] * 11
    shown = RunReads(full, 4.0).one(RunId(run), "http://x")
    assert [stage["attempts"][0]["lines"] for stage in shown["stages"]] == [266] * 3
    items, cursor = RunReads(full, 4.0).page(
        project="default", pipeline="old-3", status="passed", trigger=None, since=None, until=None, before=None,
        limit=50, base_url="http://x",
    )  # fmt: skip
    assert (len(items), cursor is not None) == (50, True)


def test_an_upgrade_that_fails_leaves_the_old_schema_whole(full, old_url):
    with full.begin() as connection:
        connection.execute(text("CREATE TABLE pause (taken int)"))
    with pytest.raises(DBAPIError):
        migrate(old_url)
    with full.begin() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == OLD
        connection.execute(text("DROP TABLE pause"))
    migrate(old_url)
    require_schema(old_url)
