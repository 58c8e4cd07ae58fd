"""A room: the sandbox of one attempt, in which its processes run and out of which none of them gets.

The supervisor keeps the read ends of all pipes and never opens a path of the workspace; inside, an agent
(`rivet/sandbox/agent.py`, pid 1 of the room) starts processes and does all work with files.
"""

import contextlib
import itertools
import os
import re
import resource
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from rivet.domain.limits import Limits, OverLimit
from rivet.domain.states import Reason
from rivet.runner.limit_hint import limit_hint
from rivet.runner.proxy import Proxy
from rivet.runner.reach import ProxyRules, network_hint
from rivet.runner.room_background import Background, Readers
from rivet.runner.room_command import Asked, CannotStart, Command, Ended, Output
from rivet.runner.room_link import ANSWER_WAIT_S, MOST_LISTENERS, Answer, Link, RoomLost, RoomOver
from rivet.runner.room_programs import compiled, library
from rivet.runner.tools import ToolRoots
from rivet.sandbox.agent import SPARE_PROCESSES
from rivet.sandbox.isolation.namespaces import (
    HOME,
    OPEN_FILES,
    OURS,
    WORKSPACE,
    Bind,
    CannotEnclose,
    Enclosed,
    Enclosure,
    KilledEarly,
    enclose,
    interpreter,
)

__all__ = [
    "CannotEnclose", "CannotStart", "Ended", "Room", "RoomLost", "RoomOver", "RoomSpec",
    "prepare_workspace",
]  # fmt: skip

MOST_LEFT_OVER = 16

UNWATCHED = Limits(process_memory=0, workspace=0)
"""For rooms of ours, in which nobody else's processes are: files and memory of any size."""

WATCHED = ("processes", "process_memory", "workspace", "open_files")
"""What the agent sees to, in the order in which it is told."""

_PYTHON = (str(interpreter()), "-I", "-S", "-X", "utf8")


@dataclass(frozen=True, slots=True)
class RoomSpec:
    """What a room is made of.

    `home` is the folder of the job's HOME; None gives an empty one that nobody can write to. `uid` is the
    host's user of the workspace, None where the runner is no root. `network` is None for a room without any.
    `read_only` are paths of the host that are visible under their own name, `binds` those under another,
    `files` small files of ours. The room ends by itself after `ping_s` seconds without a word from its
    supervisor. It is ended when it goes over `limits`: 0 of memory or files is without one.
    """

    workspace: Path
    home: Path | None
    uid: int | None
    tools: ToolRoots
    ping_s: float
    network: ProxyRules | None = None
    read_only: tuple[Path, ...] = ()
    binds: tuple[Bind, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    hostname: str = "stage"
    limits: Limits = UNWATCHED


class Room:
    """An open room. It dies with the thread that opened it, which has to live as long."""

    def __init__(self, spec: RoomSpec) -> None:
        """Open it. Raises CannotEnclose or NoBubblewrap where the sandbox cannot be had, RoomLost where
        it is killed meanwhile.
        """
        self.spec = spec
        self._idents = itertools.count(1)
        self._left: list[int] = []
        self._readers = Readers()
        self._proxy: Proxy | None = None
        self._last_ping = time.monotonic()
        self.hinted: Reason | None = None
        """Of the last `hint`: the limit that it names."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._link = Link(ours)
        with theirs:
            try:
                self._enclosed = self._enclose(theirs.fileno())
            except KilledEarly as killed:
                raise RoomLost(str(killed)) from killed
        try:
            listeners = self._link.receive_listeners()
        except RoomLost as lost:
            said = self._enclosed.complaints()
            self.close()
            if not said:
                raise  # whoever cannot enclose says why: this one was killed
            raise CannotEnclose(f"{lost}: {said}") from lost
        if listeners and spec.network is not None:
            self._proxy = _opened_proxy(listeners, spec.network, spec.limits)

    def _enclose(self, control: int) -> Enclosed:
        spec = self.spec
        program = f"{OURS}/agent.pyc"
        doors = _doors(spec.network) if spec.network is not None else {}
        listens = ",".join(["127.0.0.1:0", *(f"{address}:{port}" for address, port in doors)])
        return enclose(
            Enclosure(
                workspace=spec.workspace,
                home=spec.home,
                uid=spec.uid,
                binds=(
                    *(bind for bind in spec.tools.binds if bind.is_link or bind.source.exists()),
                    *(Bind(path, str(path)) for path in spec.read_only),
                    *spec.binds,
                ),
                files={
                    **spec.files,
                    **_hosts(spec.hostname, doors),
                    **library(),
                    program: compiled("agent"),
                },
                hostname=spec.hostname,
                open_files=max(OPEN_FILES, spec.limits.open_files),
            ),
            [
                *_PYTHON, program, str(control), str(spec.ping_s),
                listens if spec.network is not None else "",
                _watched(spec.limits),
            ],
            keep=[control],
        )

    @property
    def environment(self) -> dict[str, str]:
        """What every process of the room has in its environment before anything of the stage is added."""
        return {
            "HOME": HOME,
            "TMPDIR": "/tmp",  # noqa: S108
            "LANG": "C.UTF-8",
            "PATH": self.spec.tools.path,
            **dict(self.spec.tools.env),
            **(_proxied(self._proxy.port) if self._proxy is not None else {}),
        }

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
        return network_hint(tail, has_network=self._proxy is not None)

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
        asked = Asked(argv, self._whole(env), _below_workspace(cwd), stdin, timeout_s, grace_s)
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
        asked = Asked(argv, self._whole(env), _below_workspace(cwd), stdin, timeout_s, grace_s)
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
        self._enclosed.kill()

    def close(self) -> bool:
        """End everything in the room and wait until it is gone; whether it is. Safe to call again."""
        gone = self._enclosed.end()
        self._enclosed.release()
        if self._proxy is not None:
            self._proxy.close()
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


def _watched(limits: Limits) -> str:
    """For the agent. What the runner itself may not have, nobody in a room may be allowed."""
    told = {name: getattr(limits, name) for name in WATCHED}
    for name, number in (("processes", resource.RLIMIT_NPROC), ("open_files", resource.RLIMIT_NOFILE)):
        hard = resource.getrlimit(number)[1]
        if hard != resource.RLIM_INFINITY:
            told[name] = min(told[name], hard - (SPARE_PROCESSES + 1) * (name == "processes"))
    return ",".join(map(str, told.values()))


def prepare_workspace(folder: Path, uid: int | None) -> None:
    """Make an empty folder that only the workspace's user (`uid`; None: oneself) may enter.

    Called before anything of a user is in it. Raises FileExistsError where something is there already.
    """
    folder.mkdir(mode=0o700, parents=True)
    if uid is not None:
        os.chown(folder, uid, uid, follow_symlinks=False)


def _doors(rules: ProxyRules) -> dict[tuple[str, int], str]:
    """Where in the room's loopback each granted host stands, by address and port."""
    doors: dict[tuple[str, int], str] = {}
    own: dict[str, str] = {"localhost": "127.0.0.1"}
    for host, port in rules.doors()[: MOST_LISTENERS - 1]:
        if re.fullmatch(r"127(\.\d{1,3}){3}", host):
            own[host] = host
        elif re.fullmatch(r"[0-9.]+|.*:.*", host):
            # Another address cannot be made to lead here: it is reached through the proxy alone.
            continue
        doors[own.setdefault(host, f"127.0.1.{len(own)}"), port] = host
    return doors


def _hosts(hostname: str, doors: Mapping[tuple[str, int], str]) -> dict[str, bytes]:
    """The room's /etc/hosts, in which the names of granted hosts lead to their doors."""
    named = {host: address for (address, _), host in doors.items() if host not in (address, "localhost")}
    lines = [f"127.0.0.1 localhost {hostname}", "::1 localhost"]
    lines += [f"{address} {host}" for host, address in named.items()]
    return {"/etc/hosts": "".join(f"{line}\n" for line in lines).encode()} if named else {}


def _opened_proxy(listeners: Sequence[socket.socket], rules: ProxyRules, limits: Limits) -> Proxy:
    hosts = _doors(rules)
    doors = [(door, hosts.get(door.getsockname()), door.getsockname()[1]) for door in listeners[1:]]
    known = [(door, host, port) for door, host, port in doors if host is not None]
    return Proxy(listeners[0], rules, known, limits.network)


def _proxied(port: int) -> dict[str, str]:
    """Variables by which programs find the proxy; each is read in one case or the other by some."""
    address = f"http://127.0.0.1:{port}"
    named = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), address)
    named["NO_PROXY"] = "localhost,127.0.0.1,::1"
    return {**named, **{name.lower(): value for name, value in named.items()}}


def _below_workspace(path: str) -> str:
    return WORKSPACE if path in ("", ".") else f"{WORKSPACE}/{path}"
