"""Nothing that a busy system does reads a big table from end to end: PostgreSQL itself says how it goes about it."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from rivet.sandbox.lua import Zygote
from rivet.store.unit import PostgresStore
from rivet.wiring.evaluator import LuaEvaluator
from tests.measure.big_database import fill
from tests.measure.hot_paths import Site, paths

from .plans import Ear, Sent, plans_of

RUNS, DAYS = 20_000, 10
BIG = {"run", "run_clock", "job", "stage", "attempt", "record", "test_case", "piece", "blob", "artifact", "outbox"}
SMALL_ROWS = 500
"""A table of so few rows may be read whole: an outbox, or a day without runs."""
PASSED_OVER = RUNS // 5
"""Of rows that an index gave and that were not wanted: the runs of a day or two at the most."""

@pytest.fixture(scope="module")
def site(database_url: str) -> Iterator[Site]:
    store = PostgresStore(database_url)
    big = fill(store.engine, RUNS, days=DAYS, body=b"")
    with Zygote() as zygote:
        zygote.start()
        yield Site(store, big, LuaEvaluator(zygote))
    store.close()


@pytest.fixture(scope="module")
def big_tables(site: Site) -> set[str]:
    """Those tables, and the days of records, that have more than a few rows."""
    asked = text(
        """
        SELECT relname, reltuples FROM pg_class
        WHERE relkind = 'r' AND (relname = ANY (:names) OR relname LIKE 'record\\_%')
        """
    )
    with site.store.engine.connect() as connection:
        rows = connection.execute(asked, {"names": list(BIG)}).all()
    return {row.relname for row in rows if row.reltuples > SMALL_ROWS}


def test_what_is_big_is_known_to_be(big_tables: set[str]):
    assert big_tables >= BIG - {"record", "outbox"}
    assert sum(name.startswith("record_") for name in big_tables) >= DAYS


def test_nothing_on_the_hot_paths_reads_a_big_table_from_end_to_end(site: Site, big_tables: set[str]):
    found = []
    ear = Ear(site.store.engine)
    for name, do in paths(site):
        do()
        sent = ear.heard()
        assert sent, f"{name} asked nothing"
        for each in sent:
            for plan in plans_of(each, site.store.engine):
                through = plan.scanned & big_tables
                if through or plan.passed_over > PASSED_OVER:
                    what = f"{sorted(through)}, {plan.passed_over} rows in vain"
                    found.append(f"{name}: {what}: {' '.join(each.statement.split())}")
    assert not found, "\n".join(found)


def test_what_would_read_a_whole_table_is_noticed(site: Site):
    whole = Sent("SELECT id FROM run WHERE actor = %(actor)s", {"actor": "bob"})
    in_order = Sent("SELECT id FROM run WHERE actor = %(actor)s ORDER BY id LIMIT 1", {"actor": "bob"})
    assert all("run" in plan.scanned for plan in plans_of(whole, site.store.engine))
    assert all(plan.passed_over >= RUNS for plan in plans_of(in_order, site.store.engine))
