"""Commands that run in a room beside others: started, looked at, waited for and ended by the script's thread.

What they write is read by one thread of the room, whatever the script does meanwhile, so that none of them
stands still before a full pipe. How they end is heard by whoever listens to the agent at that moment.
"""

import os
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from rivet.runner.room_command import (
    EVERYTHING,
    LOOK_S,
    READ_BYTES,
    Asked,
    Command,
    Ended,
    Output,
)
from rivet.runner.room_link import Answer, Link, RoomLost

MOST_AT_ONCE = 64
DRAIN_S = 5.0
TAIL_BYTES = 8192


class Background(Command):
    """One command in the background. All methods but `said` are called by the script's thread."""

    def __init__(
        self, ident: int, asked: Asked, link: Link, ping: Callable[[], None], output: Output
    ) -> None:
        super().__init__(ident, asked, link, ping)
        self._output = output
        self._begun = self._over_at = time.monotonic()
        self._tail: deque[bytes] = deque(maxlen=2)
        self.ended_by_us = False
        self.timed_out = False

    def start(self) -> dict[int, str]:
        """Start it; its pipes, by what they are. Raises CannotStart and RoomLost."""
        self._link.routes[self._ident] = self._hear
        try:
            self._start()
        except BaseException:
            del self._link.routes[self._ident]
            raise
        pipes, self._pipes = self._pipes, {}
        return pipes

    def said(self, stream: str, data: bytes) -> None:
        """Take what it wrote, from the reading thread."""
        self._tail.append(data[-TAIL_BYTES // 2 :])
        self._output(stream, data)

    @property
    def tail(self) -> bytes:
        return b"".join(self._tail)

    def is_running(self) -> bool:
        """Raises RoomLost."""
        while self._status is None and self._link.wait(0):
            self._link.receive()
        return self._status is None

    def wait(self, stop: Callable[[], str | None], within_s: float | None) -> Ended | None:
        """How it ended; None if it has not within that time. Raises RoomLost.

        `stop` is asked as in `Room.run`: a reason ends everything in the room.
        """
        until = time.monotonic() + within_s if within_s is not None else None
        while self.is_running():
            self._ping()
            self.end_in_time(time.monotonic())
            if (reason := stop()) is not None:
                self._end(EVERYTHING, self._output)
                return self._told("stop", reason)
            left = LOOK_S if until is None else min(LOOK_S, until - time.monotonic())
            if left <= 0:
                return None
            self._link.wait(left)
        return self._told("timeout" if self.timed_out else None)

    def stop(self) -> Ended:
        """End it and what belongs to it: TERM, after the grace KILL. Raises RoomLost."""
        if self.is_running():
            self.ended_by_us = True
            self._end(self._pid, self._output)
        return self._told()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and what belongs to it; from any thread. Raises RoomLost."""
        self._link.send("kill", self._ident, self._pid, int(number))

    def end_in_time(self, now: float) -> None:
        """Called by the reading thread: end it where its time is over."""
        limit = self._asked.timeout_s
        if limit is None or self._status is not None or now < self._begun + limit:
            return
        if not self.timed_out:
            self.timed_out, self._over_at = True, now
            self.signal(signal.SIGTERM)
        elif now > self._over_at + self._asked.grace_s:
            self._over_at = now
            self.signal(signal.SIGKILL)

    def _hear(self, answer: Answer) -> None:
        was_running = self._status is None
        super()._hear(answer)
        if was_running and self._status is not None:
            self._over_at = time.monotonic()

    def _told(self, ended_by: Literal["timeout", "stop"] | None = None, reason: str = "") -> Ended:
        return self._ended(self._over_at - self._begun, ended_by, reason)


class Readers:
    """The thread that reads what background commands write. It ends when all their pipes have."""

    def __init__(self) -> None:
        self._pipes: dict[int, tuple[Background, str]] = {}
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake = -1
        self._is_over = False

    def follow(self, command: Background, pipes: dict[int, str]) -> None:
        """Read these pipes until they end."""
        with self._guard:
            if self._wake < 0:
                self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._pipes.update({fd: (command, stream) for fd, stream in pipes.items()})
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._read, name="background-output", daemon=True)
                self._thread.start()
        os.eventfd_write(self._wake, 1)

    def has_read_all_of(self, command: Background, within_s: float) -> bool:
        """Wait until the pipes of a command have ended; whether they have."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            with self._guard:
                if not any(each is command for each, _ in self._pipes.values()):
                    return True
            time.sleep(0.005)
        return False

    def close(self) -> None:
        """Read what is left, at most for 5 s; to be called when the room's processes are gone."""
        if self._wake < 0:
            return
        thread = self._thread
        if thread is not None:
            thread.join(DRAIN_S)
            self._is_over = True
            os.eventfd_write(self._wake, 1)
            thread.join(DRAIN_S)
        os.close(self._wake)
        self._wake = -1

    def _read(self) -> None:
        while True:
            with self._guard:
                pipes = dict(self._pipes)
                if not pipes or self._is_over:
                    self._thread = None
                    for fd in self._pipes:
                        os.close(fd)
                    self._pipes.clear()
                    return
            poll = select.poll()
            poll.register(self._wake, select.POLLIN)
            for fd in pipes:
                poll.register(fd, select.POLLIN)
            for fd, _ in poll.poll(LOOK_S * 1000):
                if fd == self._wake:
                    os.eventfd_read(self._wake)
                else:
                    self._take(fd, *pipes[fd])
            self._keep_time({command for command, _ in pipes.values()})

    def _take(self, fd: int, command: Background, stream: str) -> None:
        data = os.read(fd, READ_BYTES)
        if data:
            command.said(stream, data)
            return
        with self._guard:
            del self._pipes[fd]
        os.close(fd)

    def _keep_time(self, commands: set[Background]) -> None:
        now = time.monotonic()
        for command in commands:
            try:
                command.end_in_time(now)
            except RoomLost:
                # Whoever waits for it is told.
                pass
