"""The warden: a second process that ends the parts when `rivet up` is killed in a way it cannot handle."""

import os
import signal
import sys
from dataclasses import dataclass

from rivet.local.home import Home, leave_socket_folder
from rivet.local.processes import Identity, end_all, identity_of, in_session
from rivet.local.state import forget_state, read_state

PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Warden:
    """The process, and the pipe by which it notices our end."""

    pid: int
    pipe: int

    def dismiss(self) -> None:
        """Let it go: the parts have been ended in order."""
        try:
            os.write(self.pipe, b"done")
            os.close(self.pipe)
            os.waitpid(self.pid, 0)
        except OSError:
            pass


def post_warden(home: Home) -> Warden:
    """Start it, before any part and from a process of one thread. It holds the home's lock until it is done.

    That lock keeps a next `rivet up` waiting until the parts of the last one are gone.
    """
    watched, held = os.pipe()
    pid = os.fork()
    if pid:
        os.close(watched)
        return Warden(pid, held)
    status = 1
    try:
        os.close(held)
        _watch(home, watched)
        status = 0
    finally:
        os._exit(status)


def end_parts(home: Home, gently: signal.Signals = signal.SIGTERM) -> int:
    """End what is left of the parts that the state names, with all they started. Returns how many it was."""
    state = read_state(home)
    if state is None:
        return 0
    leaders = [leader for _, leader in state.part_identities()]
    left = _left_of(leaders)
    end_all(left, gently, PATIENCE_S)
    end_all(_left_of(leaders), signal.SIGKILL, 0.0)
    return len(left)


def _left_of(leaders: list[Identity]) -> list[Identity]:
    """What runs in the sessions of these leaders; nothing where the pid is by now somebody else's."""
    return [
        one
        for leader in leaders
        if identity_of(leader.pid) in (None, leader)
        for one in in_session(leader.pid)
        if one.started >= leader.started
    ]


def _watch(home: Home, watched: int) -> None:
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    # Nobody who waits for the end of our output may wait for the warden.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for handle in (sys.stdin, sys.stdout, sys.stderr):
        try:
            os.dup2(nowhere, handle.fileno())
        except (OSError, ValueError, AttributeError):
            continue
    if os.read(watched, 16):
        return
    end_parts(home)
    leave_socket_folder(home)
    forget_state(home)
