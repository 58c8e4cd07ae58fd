"""The schema: what the steps make is what the tables say, and who may use which database."""

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from rivet.domain.errors import Unavailable
from rivet.domain.retention import TABLES
from rivet.keyring import hash_token
from rivet.store.connect import engine_for
from rivet.store.migrate import alembic_config
from rivet.store.steps import known_steps
from rivet.store.tables import METADATA
from rivet.store.unit import PostgresStore
from rivet.wiring.schema import ensure_token, migrate, require_schema, schema_state


@pytest.fixture
def empty_url(postgres, request):
    name = f"empty_{abs(hash(request.node.name)) % 10**9}"
    postgres.execute(f"CREATE DATABASE {name}")
    yield postgres.dsn(name)
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_the_steps_make_the_tables_that_the_code_knows(database_url):
    with engine_for(database_url).connect() as connection:
        partitions = set(connection.scalars(text("SELECT relname FROM pg_class WHERE relispartition")))

        def is_a_table(name, kind, _parents):
            return kind != "table" or name not in partitions

        options = {"compare_type": True, "compare_server_default": False, "include_name": is_a_table}
        context = MigrationContext.configure(connection, opts=options)
        differences = [
            found for found in compare_metadata(context, METADATA)
            if "index" not in str(found[0]) and "fk" not in str(found[0])
        ]
    assert differences == []


def test_every_table_that_the_steps_make_is_in_the_ledger(database_url):
    asked = text(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition "
        "AND relnamespace = 'public'::regnamespace"
    )
    with engine_for(database_url).connect() as connection:
        assert set(connection.scalars(asked)) == {kept.name for kept in TABLES}


def test_an_old_database_is_refused_with_the_command_to_run(empty_url):
    assert schema_state(empty_url).is_older
    with pytest.raises(Unavailable, match="rivet migrate"):
        require_schema(empty_url)
    migrate(empty_url)
    migrate(empty_url)
    require_schema(empty_url)


def test_several_may_migrate_at_once(empty_url):
    failures = []

    def attempt():
        try:
            migrate(empty_url)
        except Exception as error:
            failures.append(error)

    together = [threading.Thread(target=attempt) for _ in range(4)]
    for one in together:
        one.start()
    for one in together:
        one.join(60)
    assert failures == []
    assert not schema_state(empty_url).is_older


def test_a_newer_database_is_accepted(empty_url):
    migrate(empty_url)
    with engine_for(empty_url).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    require_schema(empty_url)
    migrate(empty_url)
    assert schema_state(empty_url).is_newer


def test_a_token_is_made_known_once(database_url):
    for _ in range(2):
        ensure_token(database_url, kind="runner", name="up", token="rvt_runner_x", queues=["default"])
    store = PostgresStore(database_url)
    with store.begin() as tx:
        found = tx.tokens.by_hash(hash_token("rvt_runner_x"))
        assert (found.kind, found.queues) == ("runner", ("default",))
        assert tx.tokens.by_hash(hash_token("rvt_runner_y")) is None
    with store.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM token")).scalar_one() == 1
    store.close()


def test_a_pipeline_s_published_versions_are_numbered_without_gaps(database_url):
    store = PostgresStore(database_url)
    with store.begin() as tx:
        project = tx.pipelines.project("default")
        first = tx.pipelines.add(project.id, "numbers", "Numbers")
        assert tx.pipelines.add(project.id, "numbers", "Other") == first
        made = [
            tx.pipelines.add_version(first.id, "lua", {"a": {"$function": 1}}, "d", publish=publish)
            for publish in (True, False, True)
        ]
        assert [version.number for version in made] == [1, None, 2]
        assert tx.pipelines.published(first.id).id == made[2].id
        assert tx.pipelines.published(first.id, 1).definition == {"a": {"$function": 1}}
        assert tx.pipelines.published(first.id, 3) is None
        assert tx.pipelines.published(first.id, 2**70) is None
        assert [tx.pipelines.take_run_number(first.id) for _ in range(2)] == [1, 2]
    store.close()


def test_steps_are_told_by_their_files_names():
    scripts = ScriptDirectory.from_config(alembic_config())
    steps = [script.revision for script in scripts.walk_revisions()]
    assert known_steps() == steps[::-1]
