"""A part of the system as a process of ours: in a session of its own, dying with us, its output in a file."""

import ctypes
import os
import pwd
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from rivet.local.fork_server import ForkRequest
from rivet.local.forked import ForkServer
from rivet.local.processes import Identity, die_with_parent, end_all, identity_of, in_session

_CLONE_NEWUSER = 0x10000000
_LIBC = ctypes.CDLL(None, use_errno=True)


def _nothing() -> None:
    """What most parts need done before they start."""


@dataclass(frozen=True)
class Part:
    """How to start, judge and end one part.

    `stop_signal` asks it to end in order, within `patience_s` seconds; `death_signal` reaches it when we die.
    Waves of parts end one after the other, from 1 on, the parts of one side by side. `ready` tells whether it
    does its work, and is asked often; `clear_up` is called before each start, and removes what a killed one
    left. One that `is_forked` is a module of Python's (`python -P -m MODULE …`), of the fork server.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    folder: Path
    log: Path
    ready: Callable[[], bool]
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGTERM
    patience_s: float = 10.0
    ends_in_wave: int = 2
    never_as_root: bool = False
    is_forked: bool = False
    clear_up: Callable[[], None] = field(default=_nothing)


def start(part: Part, server: ForkServer | None = None) -> "Running":
    """Start it. To be called from the main thread: a part dies with the thread that started it.

    Without a fork server, all are executed. Raises OSError, subprocess.SubprocessError.
    """
    part.clear_up()
    if part.is_forked and server is not None:
        forked = server.fork(_request(part))
        return Running(part, forked, forked.identity)
    ours = os.getpid()

    def in_the_child() -> None:
        if part.never_as_root:
            leave_root()
        die_with_parent(part.death_signal, ours)

    with part.log.open("ab", buffering=0) as log:
        os.fchmod(log.fileno(), 0o600)
        process = subprocess.Popen(
            part.argv,
            cwd=part.folder,
            env=dict(part.env),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=in_the_child,
        )
    return Running(part, process, identity_of(process.pid) or Identity(process.pid, 0))


def _request(part: Part) -> ForkRequest:
    _, _, _, module, *arguments = part.argv
    return ForkRequest(
        title=f"rivet {part.name}",
        module=module,
        arguments=tuple(arguments),
        env=dict(part.env),
        folder=str(part.folder),
        log=str(part.log),
        death_signal=part.death_signal,
    )


class Process(Protocol):
    """Of `subprocess.Popen`, what the supervisor needs."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, number: signal.Signals, /) -> None: ...
    def kill(self) -> None: ...


@dataclass(frozen=True)
class Running:
    """A part that was started."""

    part: Part
    process: Process
    identity: Identity

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def how_it_ended(self) -> str:
        """In words, for people."""
        code = self.process.poll()
        if code is None:
            return "runs"
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def ask_to_stop(self) -> None:
        if not self.has_ended():
            self.process.send_signal(self.part.stop_signal)

    def kill(self) -> None:
        if not self.has_ended():
            self.process.kill()

    def sweep(self) -> None:
        """End what an ended part left running in its session."""
        end_all(in_session(self.identity.pid), signal.SIGKILL, 0.0)


def leave_root() -> None:
    """In a child of root: go on as somebody else, who has root's files and none of root's powers.

    A user namespace maps an unprivileged user to our own id, so that a program that refuses to be root
    starts, and nothing beneath a home that only root may enter has to be opened or given away. The powers
    go when the program is executed. Raises OSError where user namespaces are forbidden.
    """
    if os.geteuid() != 0:
        return
    somebody = next(entry for entry in pwd.getpwall() if entry.pw_uid != 0)
    if _LIBC.unshare(_CLONE_NEWUSER) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    for name, line in (
        ("setgroups", "deny"),
        ("uid_map", f"{somebody.pw_uid} 0 1"),
        ("gid_map", f"{somebody.pw_gid} 0 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(line)
