"""Secrets in PostgreSQL: rows by project and name, sealed."""

import pytest
from sqlalchemy import text

from rivet.domain.secret import Audience, Sealed

DEMO = Audience(("demo",), ("main",))


@pytest.fixture
def put(store):
    def put_one(name, sealed=b"sealed", audience=DEMO, actor="alice"):
        with store.begin() as tx:
            project = tx.pipelines.project("default").id
            return tx.secrets.put(project, name, Sealed("key", b"nonce", sealed), audience, actor)

    return put_one


def test_a_secret_is_kept_as_it_was_put_and_replaced_in_its_place(store, put):
    first = put("TOKEN")
    second = put("TOKEN", b"\x00other\xff", Audience(all_pipelines=True), "bob")
    with store.begin() as tx:
        found = tx.secrets.get(first.project_id, "TOKEN")
    assert found == second
    assert found.sealed == Sealed("key", b"nonce", b"\x00other\xff")
    assert (found.audience, found.set_by) == (Audience(all_pipelines=True), "bob")
    assert found.created_at == first.created_at
    assert found.updated_at > first.updated_at


def test_names_are_listed_by_their_bytes_from_any_place_on(store, put):
    for name in ("Z_", "ZA", "Z1"):
        put(name)
    with store.begin() as tx:
        project = tx.pipelines.project("default").id
        listed = [each.name for each in tx.secrets.of_project(project, after="Z", limit=2)]
        rest = [each.name for each in tx.secrets.of_project(project, after=listed[-1], limit=9)]
    assert (listed, rest) == (["Z1", "ZA"], ["Z_"])


def test_a_deleted_secret_is_gone(store, put):
    secret = put("GONE")
    with store.begin() as tx:
        assert tx.secrets.delete(secret.project_id, "GONE")
        assert not tx.secrets.delete(secret.project_id, "GONE")
        assert tx.secrets.get(secret.project_id, "GONE") is None
    with store.engine.connect() as connection:
        rows = connection.execute(text("SELECT count(*) FROM secret WHERE name = 'GONE'")).scalar_one()
    assert rows == 0


def test_a_name_that_is_none_finds_nothing(store):
    with store.begin() as tx:
        project = tx.pipelines.project("default").id
        assert tx.secrets.get(project, "A\0B") is None
        assert not tx.secrets.delete(project, "\ud800")
