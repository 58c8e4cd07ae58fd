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
