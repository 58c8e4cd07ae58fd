"""The supervisor's side of processes: the zygote it keeps, and the Lua children it gets from it.

A child is one Unix socket for frames, a pidfd to end it by, and a pipe on which the zygote tells its end.
"""

import contextlib
import importlib.util
import json
import math
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rivet.sandbox import frames
from rivet.sandbox.starts import Starts

NOBODY = 65534
START_S = 30.0
FORK_S = 15.0
END_S = 5.0
_CHILD_OUT_OF_MEMORY = 71
_FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class LuaLimits:
    """The bounds of one script. `wall_s` counts from the fork; `source_bytes` bounds the file itself,
    `frame_bytes` one value that goes in or out."""

    memory_bytes: int = 64 * 1024 * 1024
    cpu_s: float = 10.0
    wall_s: float = 30.0
    source_bytes: int = 1024 * 1024
    frame_bytes: int = frames.MAX_BYTES


class NoChild(Exception):
    """No Lua child can be had: the zygote does not start, or died too often."""


class OutOfTime(Exception):
    """The child's wall time is over."""


class Ended(Exception):
    """The child has ended. `kind` is as in `LuaError`; the message says by what."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Child:
    """A confined Lua process. One thread speaks frames with it; any thread may kill it."""

    def __init__(self, pid: int, pidfd: int, channel: socket.socket, end: int, limits: LuaLimits) -> None:
        self.pid = pid
        self.limits = limits
        self.deadline = time.monotonic() + limits.wall_s
        self.killed = False
        self._pidfd: int | None = pidfd
        self._end = end
        self._channel = channel
        self._lock = threading.Lock()
        self._buffer = bytearray()

    def send(self, value: Any) -> None:
        """Send a frame. Raises Ended, OutOfTime, or frames.BadFrame if the value is none that Lua has."""
        packed = frames.pack(value, self.limits.frame_bytes)
        try:
            self._channel.settimeout(self._left())
            self._channel.sendall(packed)
        except TimeoutError:
            raise OutOfTime from None
        except OSError:
            raise self._ended() from None

    def receive(self) -> Any:
        """The next frame's value. Raises Ended, OutOfTime or frames.BadFrame."""
        length = frames.length_of(self._take(4), self.limits.frame_bytes)
        return frames.unpack(self._take(length))

    def kill(self) -> None:
        """End the process at once. Safe to call at any time, more than once."""
        with self._lock:
            self.killed = True
            if self._pidfd is not None:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Kill it and let go of what is held of it."""
        self.kill()
        with self._lock:
            if self._pidfd is not None:
                os.close(self._pidfd)
                os.close(self._end)
                self._pidfd = None
        self._channel.close()

    def _left(self) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise OutOfTime
        return left

    def _take(self, count: int) -> bytes:
        buffer = self._buffer
        while len(buffer) < count:
            try:
                self._channel.settimeout(self._left())
                got = self._channel.recv(max(65536, count - len(buffer)))
            except TimeoutError:
                raise OutOfTime from None
            except OSError:
                got = b""
            if not got:
                raise self._ended()
            buffer += got
        taken = bytes(buffer[:count])
        del buffer[:count]
        return taken

    def _ended(self) -> Ended:
        """Why there is nobody any more: waits a little for the zygote to say."""
        if self.killed:
            return Ended("crash", "the script was stopped from outside")
        with self._lock:
            told = b""
            if self._pidfd is not None and select.select([self._end], [], [], END_S)[0]:
                told = os.read(self._end, 2)
        if len(told) < 2:
            return Ended("crash", "the Lua process is gone, and the zygote that forked it too")
        return _verdict(told[0], told[1], self.limits)


def _verdict(code: int, status: int, limits: LuaLimits) -> Ended:
    if code == os.CLD_EXITED:
        if status == _CHILD_OUT_OF_MEMORY:
            return Ended("memory", f"the limit of {limits.memory_bytes // 1048576} MiB of memory is used up")
        return Ended("crash", f"the Lua process ended by itself with exit code {status}")
    if status == signal.SIGXCPU:
        return Ended(
            "cpu", f"the limit of {limits.cpu_s:g} s of processor time is used up, in a single call of Lua's"
        )
    if status == signal.SIGKILL:
        return Ended("crash", "the Lua process was killed from outside; the machine may be out of memory")
    return Ended("crash", f"the Lua process was ended by signal {status} ({signal.Signals(status).name})")


class Zygote:
    """A warm process that forks Lua children, started at the first fork and again if it dies.

    `uid` is who the children become where we are root (nobody if None); else they stay who we are.
    Threads may share it. A process that forked from its owner gets one of its own.
    """

    def __init__(self, uid: int | None = None) -> None:
        self._uid = (NOBODY if uid is None else uid) if os.geteuid() == 0 else None
        self._lock = threading.RLock()
        self._live: _Live | None = None
        self._starts = Starts("the zygote of Lua children")
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Have the zygote ready before it is needed. Raises NoChild."""
        with self._lock:
            self._ready()

    def fork_ahead(self, limits: LuaLimits) -> None:
        """`fork` will be called soon, with such limits: the child is made meanwhile.

        What goes wrong with it is found out by `fork`, which then makes another.
        """
        with self._lock:
            try:
                self._ready().ask(limits)
            except OSError:
                self._drop()
            except NoChild:
                pass

    def fork(self, limits: LuaLimits) -> Child:
        """A new confined child. Raises NoChild."""
        with self._lock:
            try:
                return self._ready().fork(limits)
            except OSError:
                self._drop()
            try:
                return self._ready().fork(limits)
            except OSError as error:
                self._drop()
                raise NoChild(f"the zygote of Lua children does not answer: {error}") from error

    def close(self) -> None:
        """End the zygote, and with it its children."""
        with self._lock:
            self._closed = True
            self._drop()

    def _ready(self) -> "_Live":
        if self._closed:
            raise NoChild("this zygote is closed")
        live = self._live
        if live is not None and live.owner == os.getpid() and live.process.poll() is None:
            return live
        self._drop()
        if why := self._starts.another():
            raise NoChild(why)
        self._live = _Live(self._uid)
        return self._live

    def _drop(self) -> None:
        if self._live is not None:
            self._live.end()
            self._live = None


class _Live:
    """One started zygote: its process, its channel, and the thread that stays as long as it does.

    The kernel sends the death signal when the *thread* that forked ends, so that a thread of its own does.
    """

    def __init__(self, uid: int | None) -> None:
        self.owner = os.getpid()
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        started = threading.Event()
        self._asked: _Asked | None = None
        self._failure: BaseException | None = None
        self.process: subprocess.Popen[bytes]

        def keep() -> None:
            try:
                self.process = _spawn(theirs, uid)
            except (OSError, NoChild) as failure:
                self._failure = failure
                return
            finally:
                theirs.close()
                started.set()
            self.process.wait()

        threading.Thread(target=keep, name="lua-zygote", daemon=True).start()
        started.wait(START_S)
        if self._failure is not None:
            self.channel.close()
            raise NoChild(f"the zygote of Lua children cannot be started: {self._failure}") from self._failure
        self._await_ready()

    def _await_ready(self) -> None:
        self.channel.settimeout(START_S)
        try:
            ready = self.channel.recv(64)
        except OSError:
            ready = b""
        if ready != b"ready":
            said = self._complaint()
            self.end()
            raise NoChild(f"the zygote of Lua children ended before it was ready. It said: {said}")

    def _complaint(self) -> str:
        stderr = self.process.stderr
        if stderr is None or not select.select([stderr], [], [], 1.0)[0]:
            return "nothing"
        return os.read(stderr.fileno(), 4096).decode(errors="replace").strip() or "nothing"

    def ask(self, limits: LuaLimits) -> None:
        """Ask for a child that is fetched later, unless one was asked for already. Raises OSError."""
        if self._asked is None:
            self._asked = _Asked(self.channel, limits)

    def fork(self, limits: LuaLimits) -> Child:
        """Raises OSError."""
        asked, self._asked = self._asked, None
        if asked is not None:
            child = asked.fetch(limits)
            if asked.request == _request(limits):
                return child
            child.close()
        return _Asked(self.channel, limits).fetch(limits)

    def end(self) -> None:
        self.channel.close()
        if self._asked is not None:
            self._asked.close()
            self._asked = None
        if self.owner != os.getpid():
            return
        self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_S)
        if self.process.stderr is not None:
            self.process.stderr.close()


class _Asked:
    """A child that the zygote was asked for, and that is yet to be fetched: one at a time."""

    def __init__(self, channel: socket.socket, limits: LuaLimits) -> None:
        self.request = _request(limits)
        self._channel = channel
        self._ours, theirs = socket.socketpair()
        self._end, told = os.pipe()
        try:
            channel.settimeout(FORK_S)
            socket.send_fds(channel, [self.request], [theirs.fileno(), told])
        except OSError:
            self.close()
            raise
        finally:
            theirs.close()
            os.close(told)

    def fetch(self, limits: LuaLimits) -> Child:
        """Raises OSError."""
        try:
            answer, descriptors, _, _ = socket.recv_fds(self._channel, 64, 1)
            if len(answer) != 4 or len(descriptors) != 1:
                raise ConnectionResetError("the zygote has closed its channel")
        except OSError:
            self.close()
            raise
        return Child(int.from_bytes(answer, "little"), descriptors[0], self._ours, self._end, limits)

    def close(self) -> None:
        self._ours.close()
        os.close(self._end)


def _request(limits: LuaLimits) -> bytes:
    """What the kernel bounds of a child; the rest is kept to by its supervisor and by itself."""
    return json.dumps({"memory": limits.memory_bytes, "cpu_s": math.ceil(limits.cpu_s) + 1}).encode()


def _spawn(channel: socket.socket, uid: int | None) -> subprocess.Popen[bytes]:
    lupa = importlib.util.find_spec("lupa")
    if lupa is None or lupa.origin is None:
        raise NoChild("the Python package lupa, which brings Lua, is not installed")
    return subprocess.Popen(
        [
            sys.executable,
            "-I",
            "-S",
            str(_FOLDER / "zygote.py"),
            str(os.getpid()),
            str(channel.fileno()),
            "-" if uid is None else str(uid),
            str(_FOLDER.parent.parent),
            str(Path(lupa.origin).parent.parent),
        ],
        env={},
        cwd="/",
        pass_fds=[channel.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
