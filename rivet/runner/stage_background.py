"""`process.start` and its handles: commands of one stage that run beside its script."""

import contextlib
import itertools
import shlex
import signal
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from rivet.domain.secret import Opaque
from rivet.modules.contract import CallError, Launch, Process, Ready
from rivet.runner.kept_output import Kept
from rivet.runner.log_writer import LogWriter
from rivet.runner.room import CannotStart, Room, RoomLost
from rivet.runner.room_background import MOST_AT_ONCE, Background
from rivet.runner.room_command import Ended

MOST_STARTED = 1000
MOST_CAPTURED = 64 * 1024 * 1024
GRACE_S = 10.0
LAST_GRACE_S = 2.0
LAST_WORDS_S = 0.2
FIRST_LOOK_S, LAST_LOOK_S = 0.01, 0.25
PROBE_S = 10.0


class Stage(Protocol):
    """What is needed of the stage that they run in."""

    def room(self) -> Room: ...

    def prepared(
        self, title: str, env: Mapping[str, str | Opaque], stdin: bytes | Opaque | None
    ) -> tuple[dict[str, str], bytes | None]:
        """Variables and standard input with secrets in their place. Raises CallError."""

    def working(self) -> AbstractContextManager[None]:
        """While the script waits for processes: they are ended with their grace if the stage is stopped."""

    def go_on(self) -> None:
        """Raises where the stage is to stop."""

    def assure(self) -> None:
        """Wait until it is certain that the stage is ours to act in."""

    def stopped(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class _Started:
    number: int
    launch: Launch
    env: Mapping[str, str]
    command: Background
    kept: Kept
    watch: "_Watch"
    begun: float = field(default_factory=time.monotonic)

    @property
    def name(self) -> str:
        return shlex.join(self.launch.argv)[:200]


class StageBackground:
    """The contract's `Background`."""

    def __init__(self, stage: Stage, log: LogWriter) -> None:
        self._stage, self._log = stage, log
        self._numbers = itertools.count(1)
        self._all: dict[int, _Started] = {}

    def start(self, launch: Launch) -> int:
        self._stage.go_on()
        self._check_bounds(launch.capture)
        with self._stage.working():
            started = self._started(launch)
            self._all[started.number] = started
            if launch.ready is not None:
                self._await(started, launch.ready)
        return started.number

    def _check_bounds(self, capture: bool) -> None:
        """Handles are kept as long as the stage, and with them what their commands wrote."""
        running = sum(each.command.is_running() for each in self._all.values())
        if running >= MOST_AT_ONCE:
            raise CallError(
                f"process.start: {running} commands run in the background, the most there may be; "
                "h:stop() ends one"
            )
        if len(self._all) >= MOST_STARTED:
            raise CallError(f"process.start: a stage may start {MOST_STARTED} commands in the background")
        if capture and sum(each.kept.size for each in self._all.values()) > MOST_CAPTURED:
            raise CallError(
                f"process.start: capture: over {MOST_CAPTURED} bytes were captured from commands in the "
                "background; let others write to files"
            )

    def launched(self, handle: int) -> Launch:
        return self._of(handle).launch

    def wait(self, handle: int, timeout_s: float | None) -> Process:
        started = self._of(handle)
        with self._stage.working():
            ended = started.command.wait(self._stage.stopped, timeout_s)
        self._stage.go_on()
        if ended is None:
            raise CallError(f'h:wait: command "{started.name}" is still running after {timeout_s:g} s')
        if ended.ended_by == "timeout":
            limit = started.launch.timeout_s
            raise CallError(f'h:wait: command "{started.name}" was stopped after its timeout of {limit:g} s')
        return self._told(started, ended)

    def stop(self, handle: int) -> Process:
        started = self._of(handle)
        with self._stage.working():
            ended = started.command.stop()
        self._stage.go_on()
        return self._told(started, ended)

    def is_running(self, handle: int) -> bool:
        self._stage.go_on()
        return self._of(handle).command.is_running()

    def end(self) -> None:
        """The stage is over: ask all that still run to end, and give them 2 s to."""
        with contextlib.suppress(RoomLost):
            running = [each.command for each in self._all.values() if each.command.is_running()]
            for command in running:
                command.signal(signal.SIGTERM)
            deadline = time.monotonic() + LAST_GRACE_S
            for command in running:
                command.wait(lambda: None, max(0.0, deadline - time.monotonic()))

    def finish(self) -> None:
        """The room is gone: what they wrote last are lines."""
        for number in self._all:
            self._log.finish(number)

    def _of(self, handle: int) -> _Started:
        if handle not in self._all:
            raise CallError(f"process.start: there is no handle {handle} in this stage")
        return self._all[handle]

    def _started(self, launch: Launch) -> _Started:
        number, kept = next(self._numbers), Kept(launch.capture)
        watch = _Watch(launch.ready.log if launch.ready is not None else None)

        def take(stream: str, data: bytes) -> None:
            kept.keep(stream, self._log.take(stream, data, number))
            watch.look(stream, data)

        room = self._stage.room()
        self._stage.assure()
        self._stage.go_on()
        env, stdin = self._stage.prepared("process.start", launch.env, launch.stdin)
        try:
            command = room.start(
                launch.argv, env=env, on_output=take, cwd=launch.cwd, stdin=stdin,
                timeout_s=launch.timeout_s, grace_s=GRACE_S,
            )  # fmt: skip
        except CannotStart as error:
            raise CallError(f"process.start: {error}") from None
        return _Started(number, launch, env, command, kept, watch)

    def _await(self, started: _Started, ready: Ready) -> None:
        """Return when it is ready. Raises CallError where it ends, or takes too long."""
        deadline = started.begun + ready.timeout_s
        pause = FIRST_LOOK_S
        while not self._is_ready(started, ready, deadline):
            left = deadline - time.monotonic()
            ended = started.command.wait(self._stage.stopped, max(0.0, min(pause, left)))
            self._stage.go_on()
            if ended is not None:
                self._refuse_ended(started, ready, ended)
                return
            if left <= 0:
                self._told(started, started.command.stop())
                raise CallError(
                    f'process.start: command "{started.name}" was not ready after {ready.timeout_s:g} s '
                    f"and was ended: {_expected(ready)}. {_said(started)}"
                )
            pause = min(pause * 1.5, LAST_LOOK_S)

    def _refuse_ended(self, started: _Started, ready: Ready, ended: Ended) -> None:
        told = self._told(started, ended)
        if ready.log is not None and started.watch.found:
            return
        raise CallError(
            f'process.start: command "{started.name}" ended with exit code {told.exit_code} '
            f"before it was ready. {_said(started)}",
            exit_code=told.exit_code,
        )

    def _is_ready(self, started: _Started, ready: Ready, deadline: float) -> bool:
        if ready.port is not None:
            try:
                return self._stage.room().is_listening(ready.port)
            except CannotStart as error:
                started.command.stop()
                raise CallError(f"process.start: ready: {error}") from None
        if ready.log is not None:
            return started.watch.found
        try:
            ended = self._stage.room().run(
                ready.command or [], env=started.env, cwd=started.launch.cwd, on_output=lambda *_: None,
                timeout_s=max(0.1, min(PROBE_S, deadline - time.monotonic())), stop=self._stage.stopped,
            )  # fmt: skip
        except CannotStart as error:
            started.command.stop()
            raise CallError(f"process.start: ready: {error}") from None
        self._stage.go_on()
        return ended.exit_code == 0

    def _told(self, started: _Started, ended: Ended) -> Process:
        room = self._stage.room()
        if room.has_heard_all_of(started.command, LAST_WORDS_S):
            for stream, data in self._log.finish(started.number).items():
                started.kept.keep(stream, data)
        tail = started.kept.last_lines()
        return Process(
            ended.exit_code,
            started.kept.captured("stdout"),
            started.kept.captured("stderr"),
            ended.seconds,
            tail,
            room.hint(tail) if ended.exit_code != 0 else "",
            started.command.ended_by_us,
        )


class _Watch:
    """Looks for a text within the lines of a command."""

    def __init__(self, text: str | None) -> None:
        self._wanted = text.encode() if text is not None else b""
        self._before: dict[str, bytes] = {}
        self.found = False

    def look(self, stream: str, data: bytes) -> None:
        if self.found or not self._wanted:
            return
        whole = self._before.get(stream, b"") + data
        self.found = self._wanted in whole
        self._before[stream] = whole[-len(self._wanted) :]


def _expected(ready: Ready) -> str:
    if ready.port is not None:
        return f"nothing listened at port {ready.port} of the stage's localhost"
    if ready.log is not None:
        return f'nothing that it wrote held "{ready.log}"'
    return f'"{shlex.join(ready.command or [])[:200]}" did not end with exit code 0'


def _said(started: _Started) -> str:
    tail = started.kept.last_lines()
    return "Last lines: " + " / ".join(tail) if tail else "It wrote nothing."
