"""Logs of ended runs in the store of artifacts are read as before, and go with their day."""

import secrets
from datetime import UTC, datetime, timedelta

import pytest
import zstandard
from sqlalchemy import text

from rivet.blobs.stored import open_blobs
from rivet.domain.day import day_of
from rivet.domain.ids import Epoch, RunId
from rivet.domain.log import Chunk, Mark
from rivet.domain.record import Record, RecordType
from rivet.engine.drop_days import drop_days
from rivet.engine.drop_old_runs import drop_old_runs
from rivet.engine.drop_unused import drop_unused
from rivet.engine.move_logs import AFTER_S, move_logs
from rivet.store.read_records import RecordReads, Wanted
from tests.aged_runs import make_runs

NOW = datetime.now(UTC)


@pytest.fixture
def blobs(tmp_path):
    return open_blobs("", tmp_path / "blobs")


@pytest.fixture
def a_log(store):
    """A run that ended an hour ago, with chunks of lines that differ, and more than one piece of them."""

    def make(chunks: int = 3, width: int = 40, days_ago: float = 0.04, **told) -> RunId:
        at = NOW - timedelta(days=days_ago)
        with store.begin() as tx:
            tx.record_days.open(day_of(at))
        with store.engine.begin() as connection:
            run = RunId(make_runs(connection, [at], chunks=chunks, **told)[0])
            for pos in range(2, chunks + 2):
                first = (pos - 2) * 2 + 1
                lines = [f"{first} {secrets.token_hex(width // 2)}", f"{first + 1} {secrets.token_hex(width // 2)}"]
                chunk = Chunk(first, lines, [Mark(0, at.isoformat(), "stdout", None)])
                connection.execute(
                    text("UPDATE record SET body = :body WHERE run_id = :run AND pos = :pos"),
                    {"run": run, "pos": pos, "body": zstandard.compress(chunk.body())},
                )
        return run

    return make


def texts(reads, run, **wanted):
    return [line for block in reads.log(Wanted(run, **wanted)) for line in block.texts]


def stored_bytes(store, run):
    with store.engine.connect() as connection:
        asked = text("SELECT coalesce(sum(length(body)), 0) FROM record WHERE run_id = :run")
        return connection.execute(asked, {"run": run}).scalar_one()


@pytest.mark.parametrize(
    "wanted", [{}, {"tail": 3}, {"from_line": 4}, {"stage": "build"}, {"attempt": 1}, {"stage": "none"}]
)
def test_a_log_that_was_moved_is_read_as_before(store, blobs, a_log, wanted):
    run = a_log()
    before, entries = texts(RecordReads(store.engine), run, **wanted), RecordReads(store.engine).after(run, 0, 100)
    assert move_logs(store=store, blobs=blobs, now=NOW) == 1
    assert stored_bytes(store, run) == 0
    reads = RecordReads(store.engine, blobs)
    assert texts(reads, run, **wanted) == before
    assert reads.after(run, 0, 100) == entries
    assert move_logs(store=store, blobs=blobs, now=NOW) == 0


def test_a_log_of_several_pieces_comes_back_over_their_borders(store, blobs, a_log):
    run = a_log(chunks=90, width=100_000)
    before = texts(RecordReads(store.engine), run)
    move_logs(store=store, blobs=blobs, now=NOW)
    with store.engine.connect() as connection:
        asked = "SELECT length(pieces) / 32 FROM blob JOIN moved_log ON blob_id = blob.id WHERE run_id = :run"
        assert connection.execute(text(asked), {"run": run}).scalar_one() > 1
    assert texts(RecordReads(store.engine, blobs), run) == before


def test_what_goes_on_or_ended_just_now_stays(store, blobs, a_log):
    going_on, young = a_log(status="waiting"), a_log(days_ago=0)
    move_logs(store=store, blobs=blobs, now=NOW)
    assert stored_bytes(store, going_on) > 0
    assert stored_bytes(store, young) > 0
    move_logs(store=store, blobs=blobs, now=NOW + timedelta(seconds=AFTER_S + 120))
    assert stored_bytes(store, young) == 0


def test_what_comes_late_stands_where_it_would(store, blobs, a_log):
    run = a_log()
    move_logs(store=store, blobs=blobs, now=NOW)
    with store.begin() as tx:
        job = tx.jobs.of_run(run)[0]
        chunk = Chunk(7, ["late"], [Mark(0, NOW.isoformat(), "stdout", None)])
        record = Record(
            job.id, Epoch(0), 1, NOW.isoformat(), RecordType.LOG, "build", 1, chunk.header(),
            zstandard.compress(chunk.body()),
        )
        tx.records.append(run, [record], late=True)
    lines = texts(RecordReads(store.engine, blobs), run)
    assert (len(lines), lines[-1]) == (7, "late")


def test_a_piece_that_was_lost_is_told_and_stops_nothing(store, blobs, a_log):
    run = a_log()
    move_logs(store=store, blobs=blobs, now=NOW)
    with store.engine.connect() as connection:
        asked = "SELECT project_id, encode(pieces, 'hex') FROM blob JOIN moved_log ON blob_id = blob.id WHERE run_id = :run"
        project, digest = connection.execute(text(asked), {"run": run}).one()
    blobs.drop(project, [digest])
    lines = texts(RecordReads(store.engine, blobs), run)
    assert len(lines) == 6
    assert all("cannot be read" in line for line in lines)
    assert len(RecordReads(store.engine, blobs).after(run, 0, 100)) == 4


def test_it_goes_with_its_day_and_its_bytes_after_it(store, blobs, a_log):
    runs = [a_log(days_ago=3), a_log(days_ago=3)]
    move_logs(store=store, blobs=blobs, now=NOW)
    later = NOW + timedelta(days=40)
    drop_days(30, store=store, now=later)
    with store.engine.begin() as connection:
        asked = text("SELECT count(*) FROM moved_log WHERE run_id = ANY (:runs)")
        assert connection.execute(asked, {"runs": runs}).scalar_one() == 0
        connection.execute(text("UPDATE blob SET created_at = created_at - interval '2 days'"))
        connection.execute(text("UPDATE piece SET used_at = used_at - interval '2 days'"))
    assert drop_unused(store=store, blobs=blobs) > 0


def test_it_goes_with_its_run(store, blobs, a_log):
    run = a_log(days_ago=2, pipeline="moved-alone", status="failed")
    move_logs(store=store, blobs=blobs, now=NOW)
    drop_old_runs(30, store=store, now=NOW + timedelta(days=60))
    with store.engine.connect() as connection:
        asked = text("SELECT count(*) FROM moved_log WHERE run_id = :run")
        assert connection.execute(asked, {"run": run}).scalar_one() == 0
