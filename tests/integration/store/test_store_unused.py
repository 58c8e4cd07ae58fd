"""What nothing refers to any more is dropped by its age, and what somebody sends meanwhile is not."""

import hashlib
import os
from pathlib import Path

import pytest
from sqlalchemy import text

from rivet.blobs.piece import packed
from rivet.blobs.stored import StoredBlobs, open_blobs
from rivet.domain.artifact import Contents
from rivet.domain.blob import Manifest
from rivet.domain.ids import SessionId
from rivet.domain.states import RunStatus
from rivet.engine.drop_unused import FRESH_S, UNUSED_S, drop_unused
from rivet.engine.keep_piece import keep_piece, missing_pieces
from rivet.engine.keep_snapshot import keep_snapshot
from rivet.engine.note_sizes import note_sizes
from rivet.store.sizes import BLOBS, SizeReads


class Sender:
    """A runner that holds a job, and sends pieces."""

    def __init__(self, store, planned, session: SessionId, blobs: StoredBlobs) -> None:
        self.store, self.blobs, self.planned, self.session = store, blobs, planned, session
        with store.begin() as tx:
            self.epoch = tx.jobs.begin(tx.jobs.get(planned.job.id), "q:default")
            assert tx.jobs.claim(tx.jobs.get(planned.job.id), "runner", session)
        self.project = planned.run.project_id

    def send(self, content: bytes, blobs: StoredBlobs | None = None) -> str:
        digest = hashlib.sha256(content).hexdigest()
        holder = (self.planned.job.id, self.epoch, self.session)
        keep_piece(*holder, digest, packed(content), store=self.store, blobs=blobs or self.blobs)
        return digest

    def is_missing(self, digest: str) -> bool:
        holder = (self.planned.job.id, self.epoch, self.session)
        return missing_pieces(*holder, [digest], store=self.store) == [digest]

    def keep(self, content: bytes) -> None:
        """The workspace of the job: one piece."""
        digest = self.send(content)
        manifest = Manifest(len(content), digest, (digest,))
        contents = Contents("tar", "workspace.tar", "", 1, manifest)
        keep_snapshot(self.planned.job.id, self.epoch, self.session, contents, most_bytes=10**9, store=self.store)

    def pass_time(self, seconds: float) -> None:
        with self.store.engine.begin() as connection:
            for change in (
                "UPDATE piece SET used_at = used_at - make_interval(secs => :s)",
                "UPDATE blob SET created_at = created_at - make_interval(secs => :s)",
                "UPDATE run SET ended_at = ended_at - make_interval(secs => :s)",
            ):
                connection.execute(text(change), {"s": seconds})

    def end_run(self) -> None:
        with self.store.begin() as tx:
            run = tx.runs.get(self.planned.run.id)
            tx.runs.move(run, RunStatus.FAILED)

    def drop(self) -> int:
        return drop_unused(store=self.store, blobs=self.blobs)


@pytest.fixture
def sender(store, a_run, a_runner, tmp_path: Path) -> Sender:
    """With nothing left over from the test before."""
    made = Sender(store, a_run("one"), a_runner().session, open_blobs("", tmp_path / "blobs"))
    made.pass_time(3 * UNUSED_S)
    made.drop()
    return made


def test_a_piece_that_no_blob_has_goes_when_it_was_not_used_for_long(sender):
    digest = sender.send(os.urandom(100))
    sender.pass_time(UNUSED_S - 60)
    assert sender.drop() == 0
    assert sender.blobs.has(sender.project, digest)
    sender.pass_time(61)
    assert sender.drop() == 1
    assert not sender.blobs.has(sender.project, digest)
    assert sender.drop() == 0


def test_a_piece_that_may_soon_be_dropped_is_not_counted_on(sender):
    content = os.urandom(100)
    digest = sender.send(content)
    assert not sender.is_missing(digest)
    sender.pass_time(FRESH_S + 1)
    assert sender.is_missing(digest)
    sender.send(content)
    assert not sender.is_missing(digest)


def test_what_a_workspace_consists_of_goes_a_day_after_its_run_has_ended(sender):
    sender.keep(os.urandom(100))
    sender.pass_time(2 * UNUSED_S)
    assert sender.drop() == 0
    sender.end_run()
    assert sender.drop() == 0
    sender.pass_time(UNUSED_S + 1)
    assert sender.drop() == 1
    with sender.store.begin() as tx:
        assert tx.snapshots.get(tx.jobs.get(sender.planned.job.id)) is None


def test_a_piece_that_is_sent_while_it_is_dropped_is_there(sender):
    content = os.urandom(100)
    digest = sender.send(content)
    sender.pass_time(UNUSED_S + 1)

    class DroppedBehind(StoredBlobs):
        """The clearing comes between storing a piece and noting it."""

        def put(self, project, digest: str, packed: bytes) -> int:
            size = super().put(project, digest, packed)
            sender.drop()
            return size

    sender.send(content, DroppedBehind(sender.blobs._store))
    assert sender.blobs.has(sender.project, digest)
    assert not sender.is_missing(digest)


def test_bytes_that_are_gone_already_do_not_stand_in_the_way(sender):
    first, second = sender.send(os.urandom(100)), sender.send(os.urandom(100))
    sender.pass_time(UNUSED_S + 1)
    sender.blobs.drop(sender.project, [first])
    assert sender.drop() == 2
    assert not sender.blobs.has(sender.project, second)


def test_a_page_at_a_time_nothing_is_passed_over_and_nothing_goes_that_a_blob_has(sender):
    kept = os.urandom(100)
    sender.keep(kept)
    sent = {sender.send(os.urandom(100)) for _ in range(7)}
    sender.pass_time(2 * UNUSED_S)
    found, after, pages = set(), None, 0
    while pages == 0 or after is not None:
        with sender.store.begin() as tx:
            taken, after = tx.blobs.take_unused_pieces(UNUSED_S, after, 3)
        found |= {digest for project, digest in taken if project == sender.project}
        pages += 1
    assert found == sent
    assert pages == 3  # of three, three and two
    assert sender.blobs.has(sender.project, hashlib.sha256(kept).hexdigest())


def test_blobs_are_looked_at_a_page_at_a_time(sender):
    sender.keep(os.urandom(100))
    with sender.store.begin() as tx:
        for _ in range(6):
            digest = hashlib.sha256(os.urandom(100)).hexdigest()
            tx.blobs.add(sender.project, Manifest(100, digest, (digest,)))
    sender.pass_time(2 * UNUSED_S)
    forgotten, after, pages = 0, None, 0
    while pages == 0 or after is not None:
        with sender.store.begin() as tx:
            gone, after = tx.blobs.forget_unused(UNUSED_S, after, 3)
        forgotten += gone
        pages += 1
    assert (forgotten, pages) == (6, 3)


def test_what_all_pieces_take_is_known_without_a_look_at_them(sender):
    def told() -> int:
        return SizeReads(sender.store.engine).measured()[BLOBS]

    def counted() -> int:
        with sender.store.engine.connect() as connection:
            return connection.execute(text("SELECT coalesce(sum(stored), 0) FROM piece")).scalar_one()

    content, before = os.urandom(5000), told()
    sender.send(content)
    assert told() == counted() > before + 4000
    sender.pass_time(FRESH_S + 1)
    sender.send(content)  # a second time: it is noted anew, and takes no more
    assert told() == counted()
    note_sizes({}, store=sender.store)
    assert told() == counted()
    sender.pass_time(UNUSED_S + 1)
    assert sender.drop() == 1
    assert told() == counted() == before
    note_sizes({}, store=sender.store)
    with sender.store.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM stored_bytes")).scalar_one() == 1
