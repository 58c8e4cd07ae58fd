"""One command in a room, from its start to its end: pipes, time, stopping. Every wait in it is bounded."""

import errno
import fcntl
import os
import select
import signal
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rivet.runner.room_link import ANSWER_WAIT_S, Answer, Link, RoomLost

Output = Callable[[str, bytes], None]
"""Takes what a command wrote: `stdout` or `stderr`, and bytes as they came. It may block to slow it down."""

PIPE_BYTES = 1 << 20
READ_BYTES = 1 << 18
LOOK_S = 0.2
KILL_WAIT_S = 2.0
EVERYTHING = -1


class CannotStart(Exception):
    """A command could not be started; the message names it and says why, and what would help."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended. `exit_code` is 128 + signal where a signal ended it, as shells have it.

    `ended_by` says who ended it: None for itself, or `timeout`, or `stop` with the reason that was given.
    """

    exit_code: int
    seconds: float
    ended_by: Literal["timeout", "stop"] | None = None
    signal: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be run: program and arguments, its whole environment, and where, from the room's root.

    With `verb` "work" it is the agent's own work with files, and `argv` says which.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    stdin: bytes | int | None
    timeout_s: float | None
    grace_s: float
    verb: str = "run"


class Command:
    """A command that is being run. `run` returns when the command's own process has ended."""

    def __init__(self, ident: int, asked: Asked, link: Link, ping: Callable[[], None]) -> None:
        self._ident = ident
        self._asked = asked
        self._link = link
        self._ping = ping
        self._pid = 0
        self._status: int | None = None
        self._pipes: dict[int, str] = {}

    def run(self, on_output: Output, stop: Callable[[], str | None]) -> tuple[Ended, list[int]]:
        """Start it and follow it to its end.

        The read ends of pipes that something left running still holds come back with the end.
        Raises CannotStart and RoomLost; whatever is raised, the command is killed.
        """
        begun = time.monotonic()
        self._start()
        try:
            ended_by, reason = self._follow(begun, on_output, stop)
            self._drain(on_output)
        except BaseException:
            self._abandon()
            raise
        left, self._pipes = list(self._pipes), {}
        return self._ended(time.monotonic() - begun, ended_by, reason), left

    def _ended(self, seconds: float, ended_by: Literal["timeout", "stop"] | None, reason: str) -> Ended:
        status = self._status if self._status is not None else -signal.SIGKILL
        number = -status if status < 0 else None
        return Ended(status if number is None else 128 + number, seconds, ended_by, number, reason)

    def _start(self) -> None:
        asked = self._asked
        argv = [_encoded(part) for part in asked.argv]
        env = {_encoded(name): _encoded(value) for name, value in asked.env.items()}
        fds, ours = [], []
        try:
            if asked.stdin is not None:
                given = asked.stdin
                fds.append(_sealed(given) if isinstance(given, bytes) else os.dup(given))
            for stream in ("stdout", "stderr"):
                read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
                self._pipes[read] = stream
                ours.append(read)
                fds.append(write)
                os.set_blocking(write, True)
                _enlarge(read)
            more = (env, _encoded(asked.cwd)) if asked.verb == "run" else ()
            self._link.send(asked.verb, self._ident, argv, *more, fds=fds)
        except BaseException:
            self._close_pipes()
            raise
        finally:
            for fd in fds:
                os.close(fd)
        deadline = time.monotonic() + ANSWER_WAIT_S * 3
        while self._pid == 0 and self._status is None:
            if not self._link.wait(deadline - time.monotonic()):
                self._close_pipes()
                raise RoomLost("the stage's room did not start a command in time")
            try:
                self._hear(self._link.receive())
            except BaseException:
                self._close_pipes()
                raise

    def _hear(self, answer: Answer) -> None:
        if answer.ident != self._ident:
            return
        match answer.kind:
            case "started":
                self._pid = answer.number
            case "ended":
                if not -64 <= answer.number <= 255:
                    raise RoomLost(f"the agent of the stage's room told of an exit code {answer.number}")
                self._status = answer.number
            case "failed" | "error":
                step = answer.payload.decode("ascii", "replace")
                raise CannotStart(_why(self._asked, step, answer.number))

    def _follow(
        self, begun: float, on_output: Output, stop: Callable[[], str | None]
    ) -> tuple[Literal["timeout", "stop"] | None, str]:
        """Read and look until the command has ended, or is to be ended. Who ended it, and why."""
        asked = self._asked
        until = begun + asked.timeout_s if asked.timeout_s is not None else None
        next_look = begun
        while self._status is None:
            now = time.monotonic()
            if now >= next_look:
                next_look = now + LOOK_S
                self._ping()
                if (reason := stop()) is not None:
                    self._end(EVERYTHING, on_output)
                    return "stop", reason
            if until is not None and now >= until:
                self._end(self._pid, on_output)
                return "timeout", ""
            wake = min(next_look, until) if until is not None else next_look
            self._look(wake - now, on_output)
        return None, ""

    def _look(self, within_s: float, on_output: Output) -> None:
        """One wait, one read of each pipe that has something, one answer."""
        poll = select.poll()
        for fd in self._pipes:
            poll.register(fd, select.POLLIN)
        poll.register(self._link.fileno(), select.POLLIN)
        for fd, _ in poll.poll(max(0.0, within_s) * 1000):
            if fd in self._pipes:
                self._read(fd, READ_BYTES, on_output)
            else:
                self._hear(self._link.receive())

    def _read(self, fd: int, size: int, on_output: Output) -> int:
        try:
            data = os.read(fd, size)
        except BlockingIOError:
            return 0
        if data:
            on_output(self._pipes[fd], data)
        else:
            del self._pipes[fd]
            os.close(fd)
        return len(data)

    def _drain(self, on_output: Output) -> None:
        """Read what is in the pipes now, and no more: what still runs may go on writing for ever."""
        for fd in list(self._pipes):
            left = int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), "little")
            while left > 0 and (got := self._read(fd, min(left, READ_BYTES), on_output)):
                left -= got
            # A read of nothing left tells a closed pipe from one that is still held.
            if fd in self._pipes and left <= 0:
                self._forget_if_closed(fd)

    def _forget_if_closed(self, fd: int) -> None:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        events = poll.poll(0)
        if events and events[0][1] & select.POLLHUP and not events[0][1] & select.POLLIN:
            del self._pipes[fd]
            os.close(fd)

    def _end(self, target: int, on_output: Output) -> None:
        """TERM, then after the grace KILL; for the whole room if the command itself does not go."""
        self._link.send("kill", self._ident, target, int(signal.SIGTERM))
        self._follow_until(time.monotonic() + self._asked.grace_s, target, on_output)
        self._link.send("kill", self._ident, target, int(signal.SIGKILL))
        if not self._follow_until(time.monotonic() + KILL_WAIT_S, target, on_output):
            self._link.send("kill", self._ident, EVERYTHING, int(signal.SIGKILL))
            self._follow_until(time.monotonic() + KILL_WAIT_S, target, on_output)

    def _follow_until(self, deadline: float, target: int, on_output: Output) -> bool:
        """Read on until the command (and with target EVERYTHING the whole room) has ended; whether it has."""
        next_ping = 0.0
        while (now := time.monotonic()) < deadline:
            if now >= next_ping:
                self._ping()
                next_ping = now + LOOK_S
            if self._status is not None and (target != EVERYTHING or self._is_alone()):
                return True
            wait = LOOK_S / 4 if self._status is not None else LOOK_S
            self._look(min(wait, deadline - now), on_output)
        return self._status is not None

    def _is_alone(self) -> bool:
        self._link.send("alive", self._ident)
        deadline = time.monotonic() + ANSWER_WAIT_S
        while self._link.wait(deadline - time.monotonic()):
            answer = self._link.receive()
            if answer.kind == "answer" and answer.ident == self._ident:
                return answer.number == 0
        raise RoomLost("the agent of the stage's room does not answer")

    def _abandon(self) -> None:
        try:
            self._link.send("kill", self._ident, self._pid, int(signal.SIGKILL))
        except RoomLost:
            pass
        self._close_pipes()

    def _close_pipes(self) -> None:
        for fd in self._pipes:
            os.close(fd)
        self._pipes.clear()


def _encoded(text: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    if b"\0" in data:
        raise CannotStart("a command, its arguments and environment cannot hold a NUL character")
    return data


def _sealed(content: bytes) -> int:
    """A descriptor from which the content is read like a file, and which nobody can write to."""
    whole = os.memfd_create("stdin", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(whole, view) :]
        fcntl.fcntl(
            whole,
            fcntl.F_ADD_SEALS,
            fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL,
        )
        return os.open(f"/proc/self/fd/{whole}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(whole)


def _enlarge(fd: int) -> None:
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except OSError:
        # The user's share of pipe memory is spent: a smaller pipe is slower and nothing else.
        pass


def _why(asked: Asked, step: str, number: int) -> str:
    name = asked.argv[0]
    if step == "cwd":
        return (
            f'the folder "{asked.cwd}" to run "{name}" in cannot be entered: '
            f"{os.strerror(number)}. cwd is relative to the workspace"
        )
    searched = asked.env.get("PATH", "")
    where = "" if "/" in name else f" in PATH ({searched})"
    match number:
        case errno.ENOENT:
            return (
                f'command "{name}" was not found{where}. Stages see the tools that were on the runner\'s '
                f"PATH when it started, or those of RIVET_TOOLS: see `rivet doctor`"
            )
        case -1:
            return (
                f'command "{name}" is there, but the interpreter that its first line names is not visible '
                f"in the stage's room: see `rivet doctor`"
            )
        case errno.EACCES:
            return f'command "{name}" is not an executable file that the stage\'s user may run{where}'
        case errno.ENOEXEC:
            return f'command "{name}" is neither a program nor a script with a first line that begins with #!'
        case errno.E2BIG:
            return f'command "{name}" has more arguments and environment than the system takes'
        case errno.EAGAIN:
            return f'command "{name}" was not started: the stage\'s room has as many processes as it may'
    return f'command "{name}" could not be started: {os.strerror(number) if number > 0 else "unknown error"}'
