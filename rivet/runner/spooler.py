"""The spooler: one process a runner, beside its slots. It beats, resends what control misses, cleans up."""

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from rivet.client import ApiProblem, ApiUnreachable, Client
from rivet.domain.errors import BadRecord, Unavailable
from rivet.domain.ids import Epoch, JobId, SessionId
from rivet.domain.order import HandsOn
from rivet.domain.record import RecordType, pack
from rivet.domain.runner import KeepingRule, own_queue_of
from rivet.journal.spool import read_spool
from rivet.journal.stream import StreamWriter
from rivet.runner.folder import JobFolder
from rivet.runner.found import FoundWorkspaces
from rivet.runner.workspaces import Workspaces

_log = logging.getLogger(__name__)

LOOK_S = 0.5
LEAVE_S = 5.0
KEPT_S = 24 * 3600.0
BATCH_BYTES = 1024 * 1024
MOST_KEPT = 5000


@dataclass(slots=True)
class _Progress:
    """How far a journal was at the last look, and where in the file that is.

    `goes_on`: its job is to be begun again, and needs the workspace.
    """

    expected: int = 0
    offset: int = 0
    seq: int = 0
    done_seq: int | None = None
    size: int = -1
    goes_on: bool = False
    is_damaged: bool = False


@dataclass
class Spooler:
    """`publish_again` publishes the rest of a job's chain, or raises Unavailable; `drain` tells the runner to
    finish and end, `pause` whether it is to take nothing new for a while.
    """

    runner: str
    session: SessionId
    jobs: Path
    slots: int
    lease_s: float
    client: Client
    stream: StreamWriter
    publish_again: Callable[[JobId, Epoch], None]
    drain: Callable[[], None]
    pause: Callable[[bool], None]
    keeping: KeepingRule
    _progress: dict[tuple[JobId, Epoch], _Progress] = field(default_factory=dict)
    _beat_at: float = 0.0
    _draining: bool = False
    _unacknowledged: set[JobId] = field(default_factory=set)
    _begun_again: set[JobId] = field(default_factory=set)
    _workspaces: Workspaces = field(init=False)
    _to_publish: set[tuple[JobId, Epoch]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._workspaces = Workspaces(self.jobs)

    def look(self) -> None:
        """One round. Whatever is away now is tried again in the next."""
        folders = [JobFolder(self.jobs, job) for job in self._job_ids()]
        self._begun_again = set()
        with contextlib.suppress(Unavailable):
            self._resend(folders)
        with contextlib.suppress(Unavailable):
            self._publish_again()
        if time.monotonic() - self._beat_at >= self.lease_s / 4:
            self._beat_at = time.monotonic()
            self._beat(folders)

    def leave(self) -> None:
        """Say that the runner ends now, unless something of its work is left."""
        if any(JobFolder(self.jobs, job).is_held() for job in self._job_ids()):
            return
        body = {"session": str(self.session), "free_slots": 0, "own_queue": 0, "holds": [], "leaving": True}
        with contextlib.suppress(ApiProblem, ApiUnreachable):
            self.client.call("POST", "/runner/heartbeat", body, timeout_s=LEAVE_S)

    def _job_ids(self) -> list[JobId]:
        ids = []
        for entry in self.jobs.iterdir():
            with contextlib.suppress(ValueError):
                ids.append(JobId(UUID(entry.name)))
        return ids

    def _resend(self, folders: list[JobFolder]) -> None:
        journals = {
            (JobId(UUID(folder.path.name)), epoch): folder for folder in folders for epoch in folder.epochs()
        }
        for gone in set(self._progress) - set(journals):
            del self._progress[gone]
        # Where Redis does not say how far control has come, nothing is known to be in.
        self._unacknowledged = {job for job, _ in journals}
        expected = self.stream.expected(journals)
        self._unacknowledged = {
            key[0] for key, folder in journals.items() if self._tend(key, folder, expected.get(key, 1))
        }

    def _tend(self, key: tuple[JobId, Epoch], folder: JobFolder, expected: int) -> bool:
        """One journal: clean up where all of it is in; send again where control has not come on.

        False where all that it has by now is in.
        """
        progress = self._progress.setdefault(key, _Progress())
        path = folder.spool(key[1])
        size = path.stat().st_size if path.exists() else 0
        stood_still = progress.expected == expected
        if progress.expected != expected or progress.size != size:
            self._advance(path, progress, expected)
            progress.size = size
        if progress.is_damaged and expected > progress.seq:
            # What follows the damage can never be sent: the job is let go of, so that control judges it lost.
            if not folder.is_held():
                self._let_go(key, folder)
            return False
        if progress.done_seq is not None and expected > progress.done_seq:
            if progress.goes_on and folder.epochs() == [key[1]]:
                self._begun_again.add(key[0])  # its workspace is here, and its next epoch yet to come
            elif not folder.is_held():
                self._let_go(key, folder)
            return False
        if stood_still and progress.seq >= expected:
            self._send(path, progress, expected)
        elif progress.seq < expected and not folder.is_held() and _age_s(folder, key[1]) > KEPT_S:
            self._let_go(key, folder)
        return progress.seq >= expected or progress.done_seq is not None

    def _advance(self, path: Path, progress: _Progress, expected: int) -> None:
        """Move the offset behind what control has, and find what the spool holds by now."""
        if expected < progress.expected:
            # Redis was flushed, and with it how far control had come: only what is sent again tells.
            progress.offset = 0
        try:
            for record, end in read_spool(path, offset=progress.offset):
                if record.seq < expected:
                    progress.offset = end
                progress.seq = record.seq
                if record.type is RecordType.JOB_DONE:
                    progress.done_seq = record.seq
                    progress.goes_on = bool(record.data.get("again"))
        except BadRecord as error:
            if not progress.is_damaged:
                _log.error("the spool %s is damaged: %s", path, error)
            progress.is_damaged = True
        progress.expected = expected

    def _send(self, path: Path, progress: _Progress, expected: int) -> None:
        packed: list[bytes] = []
        size = 0
        with contextlib.suppress(BadRecord):
            for record, _ in read_spool(path, after_seq=expected - 1, offset=progress.offset):
                packed.append(pack(record))
                size += len(packed[-1])
                if size > BATCH_BYTES:
                    break
        if packed:
            self.stream.send(packed)

    def _let_go(self, key: tuple[JobId, Epoch], folder: JobFolder) -> None:
        self._progress.pop(key, None)
        self.stream.forget(*key)
        if folder.epochs() == [key[1]]:
            order = folder.order(key[1])
            if order is not None and (
                order.hands_on is not HandsOn.NOTHING or FoundWorkspaces(folder.path).is_there
            ):
                self._workspaces.keep(folder, order.hands_on)
            folder.remove()
        else:
            for file in folder.path.glob(f"*.{key[1]}*"):
                file.unlink(missing_ok=True)

    def _beat(self, folders: list[JobFolder]) -> None:
        held = [folder for folder in folders if folder.is_held()]
        holds = {JobId(UUID(folder.path.name)) for folder in held} | self._unacknowledged
        holds |= {job for job, _ in self._to_publish}
        own_queue, free_slots = 0, max(0, self.slots - len(held))
        try:
            own_queue = self.stream.waiting(own_queue_of(self.runner))
        except Unavailable:
            # A runner whose broker is away can take nothing up, but it lives.
            free_slots = 0
        body: dict[str, Any] = {
            "session": str(self.session),
            "free_slots": free_slots,
            "own_queue": own_queue,
            "holds": sorted(str(job) for job in holds),
            "keeps": self._to_let_go()[:MOST_KEPT],
            "kept_for_s": self._workspaces.since_s(),
            "kept_longest_s": self.keeping.longest_s,
        }
        try:
            answer = self.client.call("POST", "/runner/heartbeat", body, timeout_s=self.lease_s / 2)
        except ApiUnreachable as error:
            _log.warning("no heartbeat: %s", error)
            self._say_cut_off()
            return
        except ApiProblem as problem:
            _log.warning("the heartbeat was refused: %s", problem.detail)
            if problem.status >= 500:
                self._say_cut_off()
            if problem.code == "fenced":
                raise SystemExit(f"this runner's session is over: {problem.detail}") from None
            return
        for job in answer.get("let_go", []):
            self._let_go_of_workspace(JobId(UUID(job)))
        self.pause(bool(answer.get("paused")))
        if answer.get("drain") and not self._draining:
            self._draining = True
            self.drain()
        self._to_publish = {
            (JobId(UUID(again["job"])), Epoch(again["epoch"])) for again in answer.get("publish_again", [])
        } | self._to_publish
        with contextlib.suppress(Unavailable):
            self._publish_again()

    def _say_cut_off(self) -> None:
        """By the other way that a runner has: nobody is to be judged for an API that does not answer it."""
        with contextlib.suppress(Unavailable):
            self.stream.say_cut_off(self.lease_s)

    def _to_let_go(self) -> list[str]:
        """Jobs whose workspaces are to go if their runs have ended."""
        return [str(job) for job in (*sorted(self._begun_again), *self._workspaces.too_much(self.keeping))]

    def _let_go_of_workspace(self, job: JobId) -> None:
        """Its run has ended, and it is not begun again."""
        self._workspaces.let_go(job)
        folder = JobFolder(self.jobs, job)
        if job in self._begun_again and not folder.is_held():
            for epoch in folder.epochs():
                self._progress.pop((job, epoch), None)
                self.stream.forget(job, epoch)
            folder.remove()

    def _publish_again(self) -> None:
        """What could not be published counts as held, and is tried again with the next look."""
        for job, epoch in list(self._to_publish):
            _log.warning("publishing the rest of job %s again", job)
            self.publish_again(job, epoch)
            self._to_publish.discard((job, epoch))


def _age_s(folder: JobFolder, epoch: Epoch) -> float:
    return time.time() - folder.claimed_at(epoch)
