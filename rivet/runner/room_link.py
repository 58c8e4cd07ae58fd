"""The supervisor's end of a room's control socket. What comes from the other end is not believed.

The agent runs where strangers' code runs: its answers are bounded in size and time, decoded strictly, and
answer only what was asked.
"""

import array
import marshal
import re
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

MAX_ANSWER = (8 << 20) + 64
ANSWER_WAIT_S = 10.0
MOST_LISTENERS = 32
_HEAD = re.compile(rb"(ready|started|failed|ended|answer|error|over) (\d{1,9}) (-?\d{1,16})\n", re.ASCII)


class RoomLost(Exception):
    """The room ended, or its agent broke the protocol: an error of ours or of the machine, not the user's."""


class RoomOver(RoomLost):
    """The room went over the limit `name` with `amount`, and its agent has ended it."""

    def __init__(self, name: str, amount: int) -> None:
        super().__init__(f"the stage's room was ended for going over its limit of {name}")
        self.name, self.amount = name, amount


@dataclass(frozen=True, slots=True)
class Answer:
    kind: str
    ident: int
    number: int
    payload: bytes


class Link:
    """Requests to the agent, and its answers. Sending is safe from any thread, receiving from one."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._control.settimeout(ANSWER_WAIT_S)
        self._sending = threading.Lock()
        self.routes: dict[int, Callable[[Answer], None]] = {}
        """Who is told of answers that may come while somebody else waits for another, by their ident."""

    def fileno(self) -> int:
        return self._control.fileno()

    def close(self) -> None:
        self._control.close()

    def send(self, verb: str, ident: int, *rest: object, fds: Sequence[int] = ()) -> None:
        """Ask the agent for something. Raises RoomLost."""
        request: Any = (verb, ident, *rest)
        body = marshal.dumps(request)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            with self._sending:
                self._control.sendmsg([len(body).to_bytes(4, "big")], rights)
                self._control.sendall(body)
        except OSError as error:
            raise RoomLost(f"the stage's room does not take requests any more: {error}") from error

    def receive(self) -> Answer:
        """The next answer. Raises RoomLost where none comes, or not a well-formed one."""
        size = int.from_bytes(self._exactly(4), "big")
        if not 4 <= size <= MAX_ANSWER:
            raise RoomLost(f"the agent of the stage's room sent {size} bytes as an answer")
        body = self._exactly(size)
        head = _HEAD.match(body)
        if head is None:
            raise RoomLost("the agent of the stage's room sent what is no answer")
        answer = Answer(head[1].decode(), int(head[2]), int(head[3]), body[head.end() :])
        if answer.kind == "over":
            raise RoomOver(answer.payload.decode("ascii", "replace"), answer.number)
        if answer.ident in self.routes:
            self.routes[answer.ident](answer)
        return answer

    def last_word(self) -> "RoomOver | None":
        """Whether a room that was lost had gone over a limit: its agent's last word may be unread."""
        try:
            while self.wait(0):
                self.receive()
        except RoomOver as over:
            return over
        except (RoomLost, OSError, ValueError):
            pass
        return None

    def receive_listeners(self) -> list[socket.socket]:
        """Wait until the agent is ready; the listening sockets that come along. Raises RoomLost.

        Nothing of a user runs in the room yet, which is why descriptors are taken from it here and only here.
        """
        try:
            head, fds, flags, _ = socket.recv_fds(self._control, 4, MOST_LISTENERS)
        except OSError as error:
            raise RoomLost(f"the agent of the stage's room did not start: {error}") from error
        listeners = [socket.socket(fileno=fd) for fd in fds]
        if len(head) != 4 or flags & socket.MSG_CTRUNC:
            raise RoomLost("the agent of the stage's room did not start")
        body = self._exactly(min(int.from_bytes(head, "big"), MAX_ANSWER))
        found = _HEAD.match(body)
        if found is None or found[1] != b"ready":
            raise RoomLost("the agent of the stage's room did not say that it is ready")
        return listeners

    def wait(self, within_s: float) -> bool:
        """Whether an answer begins to come within this time."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        return bool(poll.poll(max(0.0, within_s) * 1000))

    def _exactly(self, size: int) -> bytes:
        parts = []
        deadline = time.monotonic() + ANSWER_WAIT_S
        while size:
            try:
                part = self._control.recv(min(size, 1 << 16))
            except OSError as error:
                raise RoomLost(f"the agent of the stage's room does not answer: {error}") from error
            if not part:
                raise RoomLost("the stage's room has ended")
            if time.monotonic() > deadline:
                raise RoomLost("the agent of the stage's room answers too slowly")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)
