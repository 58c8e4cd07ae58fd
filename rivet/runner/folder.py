"""A job's folder on its runner: the order, the lock, the marks of what was done, the spool, the workspace."""

import contextlib
import fcntl
import functools
import json
import math
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rivet.domain.ids import Epoch, JobId, StageKey
from rivet.domain.order import Order
from rivet.runner import holder
from rivet.runner.hands import Hands
from rivet.runner.notes import add_to_note, read_note, write_note

_ORDER = re.compile(r"order\.\d+\.json")


def now_s() -> float:
    """Seconds since the machine's start, alike in all processes, and counted on while one of them sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Busy(Exception):
    """Another live process works in the folder."""


class JobFolder:
    """`root` is the runner's folder of jobs. What is of one epoch has it in its name."""

    def __init__(self, root: Path, job: JobId) -> None:
        self.path = root / str(job)
        self.workspace = self.path / "workspace"
        self.home = self.path / "home"
        self._lock = f"{self.path}/lock"
        self._hands = Hands(root)

    def spool(self, epoch: Epoch) -> Path:
        return self.path / f"spool.{epoch}"

    def _marks(self, epoch: Epoch) -> Path:
        return self.path / f"marks.{epoch}"

    def _order(self, epoch: Epoch) -> Path:
        return self.path / f"order.{epoch}.json"

    def write_order(self, order: Order) -> None:
        """Keep the order (with its ticket) where only the runner's user reads it."""
        self.path.mkdir(mode=0o711, parents=True, exist_ok=True)
        target = self._order(order.epoch)
        draft = target.with_suffix(".new")
        write_note(draft, json.dumps(order.as_dict()), 0o600)
        draft.rename(target)

    def order(self, epoch: Epoch) -> Order | None:
        path = str(self._order(epoch))
        try:
            found = os.stat(path)
            return _read_order(path, found.st_ino, found.st_mtime_ns)
        except FileNotFoundError:
            return None

    def is_outdated(self, epoch: Epoch) -> bool:
        """Has this runner an order of a later epoch?"""
        return any(other > epoch for other in self.epochs())

    def epochs(self) -> list[Epoch]:
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            return []
        return sorted(Epoch(int(name.split(".")[1])) for name in names if _ORDER.fullmatch(name))

    def claimed_at(self, epoch: Epoch) -> float:
        """When the order came, in seconds since 1970."""
        return self._order(epoch).stat().st_mtime

    def note_trouble(self, why: str) -> None:
        """The job cannot begin here: its first stage is to say so."""
        write_note(f"{self.path}/trouble", why)

    def note_said(self, level: str, text: str) -> None:
        """What the log of the first stage is to begin with."""
        add_to_note(f"{self.path}/said", json.dumps([level, text]) + "\n")

    def said(self) -> list[tuple[str, str]]:
        """What was noted, once."""
        try:
            lines = read_note(f"{self.path}/said").splitlines()
        except FileNotFoundError:
            return []
        os.unlink(f"{self.path}/said")
        return [(level, text) for level, text in map(json.loads, lines)]

    def trouble(self) -> str | None:
        try:
            return read_note(f"{self.path}/trouble")
        except FileNotFoundError:
            return None

    def note_lease(self, epoch: Epoch, at: float) -> None:
        """Control has said that the job is ours; it was asked at `at`, as `now_s` tells the time."""
        with contextlib.suppress(OSError):
            write_note(f"{self.path}/lease.{epoch}", repr(at))

    def lease_age_s(self, epoch: Epoch) -> float:
        """How long ago control was asked when it said so last; endless where that is not known."""
        try:
            return now_s() - float(read_note(f"{self.path}/lease.{epoch}"))
        except (OSError, ValueError):
            return math.inf

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Be the one process that works here. Raises Busy, FileNotFoundError where the folder is gone."""
        fd = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy(f"another process works on {self.path.name}") from None
            os.ftruncate(fd, 0)
            os.pwrite(fd, holder.this_process().encode(), 0)
            try:
                yield
            finally:
                # However it ends: a note that stays says that this process, which lives on, is still at work.
                os.ftruncate(fd, 0)
        finally:
            os.close(fd)

    def is_held(self) -> bool:
        """Does a process work in it, or for it? Reads only: a look must never stand in a holder's way."""
        with contextlib.suppress(OSError):
            if holder.is_alive(read_note(self._lock)):
                return True
        return self._hands.hold(self.path.name)

    def note_busy(self) -> None:
        """This slot has the job in hand: from before a stage until what follows it is published."""
        self._hands.take(self.path.name)

    def note_idle(self) -> None:
        self._hands.empty()

    def mark(self, epoch: Epoch, kind: str, stage: StageKey, *, sync: bool = False, **told: Any) -> None:
        """Note in the folder that a stage has begun or ended; with `sync` it outlives the machine's power.

        A begin has to: what it stands before must not happen twice. An end that is lost with the power costs
        an attempt that is taken for lost, as if the power had gone a moment before.
        """
        fd = os.open(self._marks(epoch), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, (json.dumps({"mark": kind, "stage": stage, **told}) + "\n").encode())
            if sync:
                os.fdatasync(fd)
        finally:
            os.close(fd)

    def marks(self, epoch: Epoch) -> list[dict[str, Any]]:
        """All marks, oldest first; a torn last line is none."""
        try:
            lines = read_note(self._marks(epoch)).splitlines(keepends=True)
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def remove(self) -> None:
        remove_tree(self.path)


@functools.lru_cache(maxsize=4)
def _read_order(path: str, _inode: int, _changed: int) -> Order:
    """Of a file that is never written to: who has another order puts another file in its place.

    A slot asks for the same order with each of its job's stages, and it has all of them.
    """
    return Order.read(json.loads(read_note(path)))


def remove_tree(path: Path) -> None:
    """Delete a folder, if it is there.

    A stage may have left folders in it that not even their owner may enter, and folders in folders deeper
    than a function can call itself: then `rm` has to do it.
    """
    with contextlib.suppress(FileNotFoundError):
        try:
            shutil.rmtree(path)
        except (PermissionError, RecursionError, NotADirectoryError):
            _by_command("chmod", "--recursive", "u+rwx", "--", str(path))
            _by_command("rm", "-rf", "--", str(path))


def _by_command(*command: str) -> None:
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
