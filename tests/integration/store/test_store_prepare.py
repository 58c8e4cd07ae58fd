"""What a connection repeats is prepared on it, and answers as before."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from rivet.domain.errors import Unavailable
from rivet.store.connect import engine_for
from rivet.store.failures import told_as_unavailable
from rivet.store.prepare import AFTER, MOST, MOST_CHARS


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = engine_for(database_url, pool_size=1)
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        connection.execute(text("CREATE TEMPORARY TABLE thing (id uuid DEFAULT gen_random_uuid(), n int, names text[])"))
        yield connection


def prepared(connection: Connection) -> list[str]:
    return list(connection.exec_driver_sql("/* unlike others */ SELECT statement FROM pg_prepared_statements").scalars())


def test_a_statement_is_prepared_when_it_is_repeated_and_answers_the_same(connection):
    add = text("INSERT INTO thing (n, names) VALUES (:n, :names) RETURNING n, names, :n + 1 AS next")
    for n in range(2 * AFTER):
        row = connection.execute(add, {"n": n, "names": [f"100%{n}", "a:b"]}).one()
        assert (row.n, row.names, row.next) == (n, [f"100%{n}", "a:b"], n + 1)
        assert len(prepared(connection)) == (1 if n + 1 >= AFTER else 0)
    grow = text("UPDATE thing SET n = n + :by WHERE n >= :least AND '%' <> 'x'")
    counts = [connection.execute(grow, {"by": 0, "least": least}).rowcount for least in range(6)]
    assert counts == [6, 5, 4, 3, 2, 1]
    assert any("$1" in one and "'%'" in one for one in prepared(connection))


def test_nothing_and_empty_lists_are_values_too(connection):
    ask = text("SELECT count(*) FROM thing WHERE id = ANY(CAST(:ids AS uuid[])) OR names = CAST(:names AS text[])")
    for _ in range(2 * AFTER):
        assert connection.execute(ask, {"ids": [], "names": None}).scalar_one() == 0
    assert len(prepared(connection)) == 1


def test_one_whose_types_cannot_be_told_is_executed_as_it_is(connection):
    ask = text("SELECT :it IS NULL")
    for _ in range(2 * AFTER):
        assert connection.execute(ask, {"it": None}).scalar_one() is True
    assert prepared(connection) == []
    connection.execute(text("SELECT count(*) FROM thing"))


def test_what_is_prepared_outlives_its_transaction_and_is_bounded(connection):
    for n in range(MOST + 20):
        for _ in range(AFTER):
            connection.execute(text(f"SELECT {n}"))
    assert 0 < len(prepared(connection)) <= MOST
    before = prepared(connection)
    connection.commit()
    assert connection.execute(text("SELECT 1")).scalar_one() == 1
    assert prepared(connection) == before
    for _ in range(2 * AFTER):
        connection.execute(text("SELECT 'long" + "x" * MOST_CHARS + "'"))
    assert prepared(connection) == before


def test_a_statement_that_answers_otherwise_after_a_migration_costs_one_connection(engine):
    ask = text("SELECT n FROM changing")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE changing (n int)"))
    try:
        with engine.begin() as connection:
            for _ in range(AFTER + 1):
                connection.execute(ask)
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE changing ALTER n TYPE text"))
        with pytest.raises(Unavailable), told_as_unavailable(), engine.begin() as connection:
            connection.execute(ask)
        with engine.begin() as connection:
            assert connection.execute(ask).all() == []
    finally:
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE changing"))


def test_what_is_wrong_with_a_value_is_told_as_ever(connection):
    ask = text("SELECT 10 / CAST(:by AS int)")
    for _ in range(AFTER):
        connection.execute(ask, {"by": 5})
    with pytest.raises(DBAPIError, match="division by zero"):
        connection.execute(ask, {"by": 0})
