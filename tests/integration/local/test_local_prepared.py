"""A database that was prepared before is seen to be so, and any other is not taken for one."""

import pytest

from rivet.local.prepared import is_prepared
from rivet.wiring.schema import ensure_token, migrate

TOKENS = ("rvt_admin_x", "rvt_runner_x")


@pytest.fixture
def empty_url(postgres):
    postgres.execute("CREATE DATABASE unprepared")
    yield postgres.dsn("unprepared")
    postgres.execute("DROP DATABASE unprepared WITH (FORCE)")


def test_a_database_is_prepared_once_it_has_the_newest_step_and_both_tokens(empty_url):
    assert not is_prepared(empty_url, TOKENS)
    migrate(empty_url)
    assert not is_prepared(empty_url, TOKENS)
    for token, kind in zip(TOKENS, ("admin", "runner"), strict=True):
        ensure_token(empty_url, kind=kind, name=kind, token=token, queues=["default"])
    assert is_prepared(empty_url, TOKENS)
    assert is_prepared(empty_url.replace("postgresql://", "postgresql+psycopg2://"), TOKENS)
    assert not is_prepared(empty_url, ("rvt_admin_y", TOKENS[1]))


def test_a_server_that_is_away_has_nothing_prepared():
    assert not is_prepared("postgresql://rivet@/rivet?host=/nowhere", TOKENS)
