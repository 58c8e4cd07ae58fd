"""Processes by pid and start time: a pid alone may have been given to another meanwhile."""

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, for as long as this machine is up. `started` is in clock ticks since its start."""

    pid: int
    started: int

    def is_alive(self) -> bool:
        """False once it has ended, even if nobody has collected it yet."""
        found = _stat(self.pid)
        return found is not None and found.started == self.started and found.state not in "ZX"

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.is_alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass

    def wait(self, timeout_s: float) -> bool:
        """Whether it ended within `timeout_s` seconds."""
        deadline = time.monotonic() + timeout_s
        while self.is_alive():
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        return True


@dataclass(frozen=True, slots=True)
class _Stat:
    pid: int
    name: str
    state: str
    session: int
    started: int


def identity_of(pid: int) -> Identity | None:
    """The identity of a running process, None if there is none of that pid."""
    found = _stat(pid)
    return None if found is None or found.state in "ZX" else Identity(pid, found.started)


def in_session(leader: int) -> list[Identity]:
    """The living processes of the session that `leader` opened, the leader included."""
    return [Identity(found.pid, found.started) for found in _all() if found.session == leader]


def working_in(folder: Path, program: str) -> list[Identity]:
    """The living processes named `program` whose working directory is `folder` itself."""
    wanted = os.path.realpath(folder)
    there = []
    for found in _all():
        if found.name != program:
            continue
        try:
            if os.readlink(f"/proc/{found.pid}/cwd") == wanted:
                there.append(Identity(found.pid, found.started))
        except OSError:
            continue
    return there


def end_all(identities: list[Identity], gently: signal.Signals, patience_s: float) -> bool:
    """Ask them to end with `gently`; kill what has not within `patience_s`. False if one had to be killed."""
    for one in identities:
        one.send(gently)
    deadline = time.monotonic() + patience_s
    late = [one for one in identities if not one.wait(max(0.0, deadline - time.monotonic()))]
    for one in late:
        one.send(signal.SIGKILL)
    for one in late:
        one.wait(5.0)
    return not late


def die_with_parent(number: signal.Signals, parent: int) -> None:
    """Let the kernel send `number` to this process when `parent` ends. To be called in the child."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _all() -> Iterator[_Stat]:
    for name in os.listdir("/proc"):
        if name.isdigit() and (found := _stat(int(name))) is not None and found.state not in "ZX":
            yield found


def _stat(pid: int) -> _Stat | None:
    try:
        raw = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name, in parentheses, may itself hold spaces and parentheses.
    closing = raw.rindex(b")")
    name, rest = raw[raw.index(b"(") + 1 : closing].decode("utf-8", "replace"), raw[closing + 2 :].split()
    return _Stat(pid, name, rest[0].decode(), int(rest[3]), int(rest[19]))
