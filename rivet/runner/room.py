"""A room: the sandbox of one attempt, in which its processes run and out of which none of them gets.

The supervisor keeps the read ends of all pipes and never opens a path of the workspace; inside, an agent
(`rivet/sandbox/agent.py`) starts processes and does all work with files.
"""

import contextlib
import itertools
import os
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Self

from rivet.domain.limits import OverLimit
from rivet.domain.states import Reason
from rivet.runner.level_hint import level_hint, without_doors, without_port
from rivet.runner.limit_hint import limit_hint
from rivet.runner.proxy import Proxy
from rivet.runner.reach import ProxyRules, network_hint
from rivet.runner.room_background import Background, Readers
from rivet.runner.room_command import Asked, CannotStart, Command, Ended, Output
from rivet.runner.room_link import ANSWER_WAIT_S, Answer, Link, RoomLost, RoomOver
from rivet.runner.room_shell import WATCHED, Opening, RoomSpec, Shell, doors_of, prepare_workspace
from rivet.sandbox.isolation.bind import Bind
from rivet.sandbox.isolation.enclosure import CannotEnclose, KilledEarly

__all__ = [
    "WATCHED", "CannotEnclose", "CannotStart", "Ended", "Room", "RoomAhead", "RoomLost", "RoomOver",
    "RoomSpec", "prepare_workspace",
]  # fmt: skip

MOST_LEFT_OVER = 16


class RoomAhead:
    """A room that is being made while there is other work to do: `Room` takes it, or it is closed."""

    def __init__(self, spec: RoomSpec) -> None:
        self.spec = spec
        self.since = time.monotonic()
        self.ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._opening = Opening(spec, self._theirs.fileno())

    @property
    def is_stale(self) -> bool:
        """Whether its agent may soon take its supervisor for dead, which nobody speaks for meanwhile."""
        return time.monotonic() - self.since > self.spec.ping_s / 2

    def opened(self) -> Shell:
        """What stands around it. Raises as `Room` does."""
        with self._theirs:
            try:
                return self._opening.opened()
            except KilledEarly as killed:
                raise RoomLost(str(killed)) from killed

    def close(self) -> None:
        """End it, as nobody needs it."""
        with self._theirs, self.ours:
            self._opening.give_up()


class Room:
    """An open room. It dies with the thread that opened it, which has to live as long."""

    def __init__(self, spec: RoomSpec, ahead: RoomAhead | None = None) -> None:
        """Open it, or wait for the one that is being made. Raises CannotEnclose or NoBubblewrap where the
        sandbox cannot be had, RoomLost where it is killed meanwhile.
        """
        ahead = RoomAhead(spec) if ahead is None else ahead
        self.spec = spec
        self._idents = itertools.count(1)
        self._left: list[int] = []
        self._readers = Readers()
        self._proxy: Proxy | None = None
        self._last_ping = time.monotonic()
        self.hinted: Reason | None = None
        """Of the last `hint`: the limit that it names."""
        self._link = Link(ahead.ours)
        self._shell = ahead.opened()
        self.layout = self._shell.layout
        try:
            listeners = self._link.receive_listeners()
        except RoomLost as lost:
            said = self._shell.enclosed.complaints()
            self.close()
            if not said:
                raise  # whoever cannot enclose says why: this one was killed
            raise CannotEnclose(f"{lost}: {said}") from lost
        if self._shell.listener is not None:
            listeners = [self._shell.listener]
        if listeners and spec.network is not None:
            self._proxy = _opened_proxy(listeners, spec, spec.network)

    @property
    def environment(self) -> dict[str, str]:
        """What every process of the room has in its environment before anything of the stage is added."""
        return {
            "HOME": self.layout.home,
            "TMPDIR": self.layout.tmp,
            "LANG": "C.UTF-8",
            "PATH": self.spec.tools.path,
            **dict(self.spec.tools.env),
            # What is there and cannot be read is an error to git.
            **({"GIT_CONFIG_NOSYSTEM": "1"} if self.spec.is_on_host else {}),
            **(_proxied(self._proxy.port, self.spec.isolation) if self._proxy is not None else {}),
        }

    def sees(self, bind: Bind) -> str:
        """Where in the room a file or folder of the host is found that was bound into it."""
        return str(bind.source) if self.spec.is_on_host else bind.target

    def network_refusals(self) -> list[str]:
        """Why the network was refused to processes of this room: the last 20 times."""
        return list(self._proxy.refusals) if self._proxy is not None else []

    def hint(self, tail: Sequence[str]) -> str:
        """What to say besides to somebody whose command ended with these lines; empty if nothing."""
        over = limit_hint(tail, self.spec.limits)
        self.hinted = over.reason if over is not None else None
        if over is not None:
            return f"It seems that {over}"
        if self._proxy is not None and self._proxy.refusals:
            return self._proxy.refusals[-1]
        level = self.spec.isolation
        if level == "none":
            return ""
        return level_hint(level, tail) or network_hint(tail, has_network=self._proxy is not None)

    @property
    def lack(self) -> str:
        """What of what was granted its level of isolation cannot give; empty if nothing."""
        return without_doors(self.spec.isolation, self.spec.network)

    def is_listening(self, port: int) -> bool:
        """Whether something listens at this port of the room's loopback.

        Raises CannotStart where it has none, and RoomLost.
        """
        if why := without_port(self.spec.isolation):
            raise CannotStart(f"port {port} cannot be waited for. {why}")
        return self.ask("connect", port).number == 1

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        on_output: Output,
        cwd: str = ".",
        stdin: bytes | int | None = None,
        timeout_s: float | None = None,
        stop: Callable[[], str | None] = lambda: None,
        grace_s: float = 10.0,
    ) -> Ended:
        """Run a command until its own process has ended; what it leaves running is not waited for.

        `env` is added to the room's own environment; `PATH_PREPEND` in it is put before the PATH. `cwd` is
        relative to the workspace; `stdin` is its input, or a descriptor to read it from. `stop` is asked at
        least every 0.2 s: a reason ends everything in the room (TERM, `grace_s`, KILL); running out of
        `timeout_s` ends the command and what belongs to it.
        Raises CannotStart and RoomLost, and whatever `on_output` and `stop` raise.
        """
        asked = Asked(argv, self._whole(env), self._below_workspace(cwd), stdin, timeout_s, grace_s)
        self._discard_left_over()
        ended, left = self._command(asked).run(on_output, stop)
        self._left += left
        while len(self._left) > MOST_LEFT_OVER:
            os.close(self._left.pop(0))
        return ended

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        on_output: Output,
        cwd: str = ".",
        stdin: bytes | None = None,
        timeout_s: float | None = None,
        grace_s: float = 10.0,
    ) -> Background:
        """Start a command beside others; it ends with the room at the latest.

        `on_output` is called by a thread of the room's. Else as `run`. Raises CannotStart and RoomLost.
        """
        asked = Asked(argv, self._whole(env), self._below_workspace(cwd), stdin, timeout_s, grace_s)
        command = Background(next(self._idents), asked, self._link, self._ping_at_times, on_output)
        self._readers.follow(command, command.start())
        return command

    def has_heard_all_of(self, command: Background, within_s: float) -> bool:
        """Wait until all that a background command and its descendants wrote was read; whether it was."""
        return self._readers.has_read_all_of(command, within_s)

    @property
    def over(self) -> OverLimit | None:
        """Whether its processes have sent and received more than they may."""
        return self._proxy.over if self._proxy is not None else None

    def measure(self) -> None:
        """Look at the limits of the room, all of its files included. Raises RoomOver and RoomLost."""
        self.ask("measure")

    def was_over(self) -> RoomOver | None:
        """Whether a room that has been lost was ended for a limit."""
        return self._link.last_word()

    def ping(self) -> None:
        """Say that the supervisor lives: more often than `ping_s`, from any thread. Raises RoomLost."""
        self._link.send("ping", 0)

    def kill(self) -> None:
        """Kill everything in the room now, from any thread; `run` then raises RoomLost."""
        self._shell.enclosed.kill()

    def close(self) -> bool:
        """End everything in the room and wait until it is gone; whether it is. Safe to call again."""
        gone = self._shell.close()
        if self._proxy is not None:
            self._proxy.close()
        elif self._shell.listener is not None:
            self._shell.listener.close()
        self._link.close()
        self._readers.close()
        for fd in self._left:
            os.close(fd)
        self._left.clear()
        return gone

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def work(
        self, arguments: Sequence[str], *, on_output: Output, stop: Callable[[], str | None]
    ) -> Ended:
        """Have the agent do what may take long with files (`sandbox/file_work.py`), in a process of its own.

        Raises CannotStart and RoomLost.
        """
        ended, left = self._command(Asked(arguments, {}, "", None, None, 1.0, "work")).run(on_output, stop)
        self._left += left
        return ended

    def ask(self, verb: str, *rest: object) -> Answer:
        """Ask the agent for something that it does at once. Raises OSError as it tells it, and RoomLost."""
        ident = next(self._idents)
        self._link.send(verb, ident, *rest)
        deadline = time.monotonic() + ANSWER_WAIT_S
        while self._link.wait(deadline - time.monotonic()):
            answer = self._link.receive()
            if answer.ident != ident:
                continue
            if answer.kind == "error":
                raise OSError(answer.number, answer.payload.decode(errors="replace"))
            return answer
        raise RoomLost("the agent of the stage's room does not answer")

    def _command(self, asked: Asked) -> Command:
        return Command(next(self._idents), asked, self._link, self._ping_at_times)

    def _below_workspace(self, path: str) -> str:
        workspace = self.layout.workspace
        return workspace if path in ("", ".") else f"{workspace}/{path}"

    def _whole(self, env: Mapping[str, str]) -> dict[str, str]:
        whole = {**self.environment, **env}
        if prepended := whole.pop("PATH_PREPEND", ""):
            whole["PATH"] = f"{prepended}:{whole['PATH']}"
        return whole

    def _ping_at_times(self) -> None:
        now = time.monotonic()
        if now - self._last_ping >= min(1.0, self.spec.ping_s / 4):
            self._last_ping = now
            self.ping()
        self._discard_left_over()

    def _discard_left_over(self) -> None:
        """Keep what earlier commands left running from standing still before a full pipe."""
        if not self._left:
            return
        poll = select.poll()
        for fd in self._left:
            poll.register(fd, select.POLLIN)
        for fd, _ in poll.poll(0):
            with contextlib.suppress(BlockingIOError):
                if not os.read(fd, 1 << 20):
                    self._left.remove(fd)
                    os.close(fd)


def _opened_proxy(listeners: Sequence[socket.socket], spec: RoomSpec, rules: ProxyRules) -> Proxy:
    if spec.is_on_host:
        user = os.geteuid() if spec.uid is None else spec.uid
        return Proxy(listeners[0], rules, (), spec.limits.network, user)
    hosts = doors_of(rules)
    doors = [(door, hosts.get(door.getsockname()), door.getsockname()[1]) for door in listeners[1:]]
    known = [(door, host, port) for door, host, port in doors if host is not None]
    return Proxy(listeners[0], rules, known, spec.limits.network)


def _proxied(port: int, level: str) -> dict[str, str]:
    """Variables by which programs find the proxy; each is read in one case or the other by some.

    Where a room has no loopback, what was granted of the host's is reached through the proxy like all else.
    """
    address = f"http://127.0.0.1:{port}"
    named = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), address)
    named["NO_PROXY"] = "" if without_port(level) else "localhost,127.0.0.1,::1"
    return {**named, **{name.lower(): value for name, value in named.items()}}
