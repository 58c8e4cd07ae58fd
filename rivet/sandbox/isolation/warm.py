"""The builder of this process's rooms, kept warm: started when it is first needed, and again when it died."""

import contextlib
import marshal
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from rivet.sandbox.isolation.builder import ASK, READY
from rivet.sandbox.isolation.enclosure import END_WAIT_S, CannotEnclose, Complaints, interpreter
from rivet.sandbox.starts import Starts

START_S = 30.0
_PACKAGES = Path(__file__).resolve().parents[3]
_PROGRAM = """
import sys
sys.path.append({packages!r})
import rivet.sandbox.isolation.builder
sys.path.pop()
packages = [rivet, rivet.sandbox, rivet.sandbox.isolation]
rivet.sandbox.isolation.builder.main({owner}, {channel}, {common}, packages)
"""
"""Given as standard input, since an argument could be read by everything in a room."""


class CannotBuild(CannotEnclose):
    """The builder does not start, or could not shut a process in; the message says by which step."""


class Builder:
    """Keeps a builder for the process that it is used in; after a fork the new process gets its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live: _Live | None = None
        self._starts = Starts("the builder of rooms")

    def ask(
        self,
        common: Mapping[str, bytes],
        told: Callable[[Mapping[str, bytes]], bytes],
        descriptors: Sequence[int],
    ) -> None:
        """Ask for a room, which is told what `told` gives, and is given the descriptors.

        `common` are files that all rooms have, without anything of one; `told` is asked with those that the
        builder has. Raises CannotBuild.
        """
        with self._lock:
            try:
                return self._ready(common).ask(told, descriptors)
            except OSError:
                self._drop()
            try:
                self._ready(common).ask(told, descriptors)
            except OSError as error:
                self._drop()
                raise CannotBuild(f"the builder of rooms does not take requests: {error}") from error

    def close(self) -> None:
        """End the builder, and all that it has built."""
        with self._lock:
            self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Of the process, if there is one."""
        return self._live.process.pid if self._live is not None and self._live.process is not None else None

    def _ready(self, common: Mapping[str, bytes]) -> "_Live":
        live = self._live
        if live is not None and live.owner == os.getpid():
            return live
        self._drop()
        if why := self._starts.another():
            raise CannotBuild(why)
        self._live = _Live(common)
        return self._live

    def _drop(self) -> None:
        if self._live is not None:
            self._live.end()
            self._live = None


class _Live:
    """One started builder: its process, its channel, and the thread that stays as long as it does.

    The kernel sends the death signal when the *thread* that forked ends, so that a thread of its own does.
    """

    def __init__(self, common: Mapping[str, bytes]) -> None:
        self.owner = os.getpid()
        self.process: subprocess.Popen[bytes] | None = None
        self._common = dict(common)
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._complaints = Complaints("builder-errors")
        started = threading.Event()

        def keep() -> None:
            try:
                self.process = _spawn(theirs, self._complaints.fd, self._common)
            except OSError as error:
                os.write(self._complaints.fd, str(error).encode())
            finally:
                theirs.close()
                started.set()
            if self.process is not None:
                self.process.wait()

        threading.Thread(target=keep, name="room-builder", daemon=True).start()
        started.wait(START_S)
        if self.process is None or not self._is_ready():
            said = self._complaints.text() or "nothing"
            self.end()
            raise CannotBuild(f"the builder of rooms does not start. It said: {said}")

    def ask(self, told: Callable[[Mapping[str, bytes]], bytes], descriptors: Sequence[int]) -> None:
        """Raises OSError where the builder is gone."""
        with _in_memory("room", told(self._common)) as parts:
            socket.send_fds(self._channel, [ASK], [parts, *descriptors])

    def end(self) -> None:
        self._channel.close()
        self._complaints.close()
        if self.process is not None and self.owner == os.getpid():
            self.process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(END_WAIT_S)

    def _is_ready(self) -> bool:
        self._channel.settimeout(START_S)
        try:
            return self._channel.recv(64) == READY
        except OSError:
            return False


def _spawn(channel: socket.socket, complaints: int, common: Mapping[str, bytes]) -> subprocess.Popen[bytes]:
    files = marshal.dumps({os.fsencode(path): content for path, content in common.items()})
    with _in_memory("common", files) as given:
        text = _PROGRAM.format(
            packages=str(_PACKAGES), owner=os.getpid(), channel=channel.fileno(), common=given
        )
        with _in_memory("builder", text.encode()) as program:
            return subprocess.Popen(
                [str(interpreter()), "-I", "-S", "-X", "utf8", "-"],
                env={},
                cwd="/",
                stdin=program,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                pass_fds=[channel.fileno(), given],
                start_new_session=True,
            )


@contextlib.contextmanager
def _in_memory(name: str, content: bytes) -> Iterator[int]:
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    try:
        os.pwrite(fd, content, 0)
        yield fd
    finally:
        os.close(fd)
