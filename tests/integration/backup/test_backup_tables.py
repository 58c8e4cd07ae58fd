"""A backup is whole: every table is in it or left out for a reason, in an order in which it can be read back."""

import hashlib
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from rivet.backup.archive import ArchiveReader, ArchiveWriter, Header
from rivet.backup.contents import LEFT_OUT, TABLES
from rivet.backup.copies import copy_out
from rivet.backup.make import make_backup
from rivet.backup.restore import refuse_unknown, restore_backup
from rivet.blobs.piece import packed
from rivet.blobs.stored import open_blobs
from rivet.domain.artifact import Contents
from rivet.domain.blob import Manifest
from rivet.domain.errors import Conflict, InvalidInput
from rivet.domain.ids import RunId, StageKey
from rivet.engine.drop_days import drop_days
from rivet.engine.drop_unused import drop_unused
from rivet.engine.move_logs import move_logs
from rivet.engine.open_days import open_days
from rivet.store.connect import engine_for
from rivet.store.kept_tables import METADATA
from rivet.store.migrate import bring_to
from rivet.store.read_records import RecordReads, Wanted
from rivet.store.schema_state import state_of_schema
from rivet.store.sizes import BLOBS, SizeReads
from rivet.store.standstill import stand_still
from rivet.store.unit import PostgresStore
from tests.aged_runs import make_runs

NOW = datetime.now(UTC)


def quietly(_name, _count):
    """Progress that nobody looks at."""


def test_every_table_is_in_a_backup_or_left_out_for_a_reason():
    assert len(set(TABLES)) == len(TABLES)
    assert not set(TABLES) & set(LEFT_OUT)
    assert set(TABLES) | set(LEFT_OUT) == {*METADATA.tables, "alembic_version"}


def test_no_table_is_read_back_before_one_that_it_refers_to(database_url):
    asked = text(
        "SELECT conrelid::regclass::text AS who, confrelid::regclass::text AS whom FROM pg_constraint WHERE contype = 'f'"
    )
    with engine_for(database_url).connect() as connection:
        for who, whom in connection.execute(asked):
            if who in TABLES and who != whom:
                assert TABLES.index(whom) < TABLES.index(who), (who, whom)


@pytest.fixture
def system(postgres, migrated_template, tmp_path):
    """A store with runs that ended and runs that go on, an artifact, and what it takes to restore elsewhere."""

    class System:
        url = postgres.dsn("backed_up")
        blobs = open_blobs("", tmp_path / "blobs")
        file = tmp_path / "backup"

        def back_up(self):
            with self.file.open("wb") as file:
                return make_backup(file, self.url, self.blobs, secret_key=None, told=quietly)

        def restore(self, url):
            archive = ArchiveReader(self.file)
            elsewhere = open_blobs("", tmp_path / "elsewhere")
            header = archive.verify(lambda _: None)
            return restore_backup(archive, header, url, elsewhere, told=quietly), elsewhere

    postgres.execute(f"CREATE DATABASE backed_up TEMPLATE {migrated_template}")
    postgres.execute("CREATE DATABASE restored")
    made = System()
    made.store = PostgresStore(made.url)
    made.target = postgres.dsn("restored")
    with made.store.engine.begin() as connection:
        made.ended = [RunId(run) for run in make_runs(connection, [NOW - timedelta(days=3), NOW], chunks=3)]
        made.going = [
            RunId(make_runs(connection, [NOW - timedelta(hours=1)], status=status)[0])
            for status in ("running", "waiting", "queued", "cancelling")
        ]
    with made.store.begin() as tx:
        project = made.project = tx.runs.get(made.ended[0]).project_id
    content = b"content of an artifact"
    digest = made.digest = hashlib.sha256(content).hexdigest()
    stored = made.blobs.put(project, digest, packed(content))
    with made.store.begin() as tx:
        tx.blobs.add_piece(project, digest, len(content), stored)
        manifest = Manifest(len(content), digest, (digest,))
        blob = tx.blobs.add(project, manifest)
        tx.artifacts.put(
            made.ended[0], "wheel", StageKey("build"), 1, Contents("file", "wheel", "", 1, manifest), blob
        )
    yield made
    made.store.close()
    for name in ("backed_up", "restored"):
        postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


def rows(url, table, where=""):
    with engine_for(url).connect() as connection:
        return sorted(connection.execute(text(f"SELECT {table}::text FROM {table} {where}")).scalars())


def test_what_is_restored_is_what_was_backed_up_and_what_was_going_on_has_ended(system):
    made = system.back_up()
    assert (made.runs, made.pieces, made.lost) == (6, 1, ())
    restored, elsewhere = system.restore(system.target)
    assert (restored.runs, restored.ended, restored.pieces) == (6, 4, 1)
    assert elsewhere.piece(system.project, system.digest) == b"content of an artifact"
    ended = ", ".join(f"'{run}'" for run in system.ended)
    for table in TABLES:
        which = ""
        if table in ("run", "job", "stage"):
            which = f"WHERE {'id' if table == 'run' else 'run_id'} IN ({ended})"
        elif table in ("record", "run_clock"):
            which = f"WHERE run_id IN ({ended})"
        elif table == "attempt":
            which = f"WHERE stage_id IN (SELECT id FROM stage WHERE run_id IN ({ended}))"
        assert rows(system.target, table, which) == rows(system.url, table, which), table
    store = PostgresStore(system.target)
    assert SizeReads(store.engine).measured()[BLOBS] == SizeReads(system.store.engine).measured()[BLOBS] > 0
    with store.begin() as tx:
        assert tx.runs.going_on(10) == []
        for run in system.going:
            found = tx.runs.get(run)
            assert (found.status, found.reason) == ("errored", "restored")
            assert {(job.status, job.reason) for job in tx.jobs.of_run(run)} == {("errored", "restored")}
            assert {stage.reason for stage in tx.stages.of_run(run)} == {"restored"}
    with store.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM record_other")).scalar_one() == 0
        ends = text("SELECT count(*) FROM record WHERE type = 'run_ended'")
        assert connection.execute(ends).scalar_one() == 6
    store.close()


def test_logs_that_were_moved_to_the_store_of_artifacts_come_along(system):
    run = system.ended[0]
    was = [block.texts for block in RecordReads(system.store.engine).log(Wanted(run))]
    assert move_logs(store=system.store, blobs=system.blobs, now=NOW + timedelta(hours=1)) == 2
    assert system.back_up().pieces == 2  # both logs say the same, and are stored once
    _, elsewhere = system.restore(system.target)
    reads = RecordReads(engine_for(system.target), elsewhere)
    assert [block.texts for block in reads.log(Wanted(run))] == was


def test_a_database_that_is_not_empty_is_refused(system):
    system.back_up()
    with pytest.raises(Conflict, match="RIVET_DATABASE_URL"):
        system.restore(system.url)


def test_what_fails_on_the_way_leaves_the_database_as_it_was(system, monkeypatch):
    system.back_up()

    def no_room(*_):
        raise OSError("no room")

    monkeypatch.setattr(type(system.blobs), "put", no_room)
    with pytest.raises(OSError, match="no room"):
        system.restore(system.target)
    with engine_for(system.target).connect() as connection:
        asked = text("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        assert connection.execute(asked).scalar_one() == 0


def test_nothing_is_dropped_while_a_backup_is_made(system):
    with system.store.engine.begin() as connection:
        connection.execute(text("DELETE FROM artifact"))
        connection.execute(text("UPDATE piece SET used_at = now() - interval '9 days'"))
        connection.execute(text("UPDATE blob SET created_at = now() - interval '9 days'"))
    later = NOW + timedelta(days=200)
    with stand_still(system.store.engine):
        assert drop_unused(store=system.store, blobs=system.blobs) == 0
        assert drop_days(30, store=system.store, now=later) == 0
        assert open_days(store=system.store, now=later) == 0
        assert system.blobs.has(system.project, system.digest)
    assert drop_unused(store=system.store, blobs=system.blobs) == 1
    assert open_days(store=system.store, now=later) > 0


def test_a_piece_that_was_lost_is_told_and_not_counted_on_after_a_restore(system):
    system.blobs.drop(system.project, [system.digest])
    assert system.back_up().lost == (system.digest,)
    restored, _ = system.restore(system.target)
    assert restored.pieces == 0
    assert rows(system.target, "piece") == []


def test_a_backup_of_a_schema_that_is_to_come_is_refused(system):
    system.back_up()
    header = ArchiveReader(system.file).verify(lambda _: None)
    refuse_unknown(header, "f")
    with pytest.raises(InvalidInput, match=r"Rivet 9\.0\.0 or newer"):
        refuse_unknown(replace(header, schema="9999", rivet="9.0.0"), "f")
    with pytest.raises(InvalidInput, match="tables that no backup has"):
        refuse_unknown(replace(header, tables={**header.tables, "run; DROP TABLE run": []}), "f")


def test_memory_is_bounded_whatever_the_size(system):
    class Measured(io.RawIOBase):
        largest = 0

        def write(self, data):
            self.largest = max(self.largest, len(data))
            return len(data)

    with system.store.engine.begin() as connection:
        make_runs(connection, [NOW] * 20, chunks=60, width=16_000)
    file = Measured()
    seen = []
    make_backup(file, system.url, system.blobs, secret_key=None, told=lambda name, count: seen.append((name, count)))
    records = [count for name, count in seen if name.startswith("tables/record/")]
    assert len(records) > 1
    assert max(records) < 9 * 1024 * 1024


def test_a_backup_of_an_older_schema_is_brought_up_to_the_present_one(system, postgres):
    postgres.execute("CREATE DATABASE older")
    older = engine_for(postgres.dsn("older"))
    with older.begin() as connection:
        bring_to("0016", connection)
        run = RunId(make_runs(connection, [NOW], chunks=2)[0])
        asked = text("SELECT column_name FROM information_schema.columns WHERE table_name = :table ORDER BY ordinal_position")
        columns = {table: list(connection.execute(asked, {"table": table}).scalars()) for table in TABLES}
        columns = {table: named for table, named in columns.items() if named}
        assert len(columns) < len(TABLES)
        header = Header("0.0.9", "0016", "then", columns)
        with system.file.open("wb") as file:
            archive = ArchiveWriter(file, header)
            for table, named in columns.items():
                copy_out(table, named, connection, archive.add)
            archive.close()
    older.dispose()
    postgres.execute("DROP DATABASE older WITH (FORCE)")
    restored, _ = system.restore(system.target)
    assert (restored.runs, restored.ended) == (1, 0)
    assert not state_of_schema(system.target).is_older
    reads = RecordReads(engine_for(system.target))
    assert [len(block.texts) for block in reads.log(Wanted(run))] == [2, 2]
