"""What the agent does by itself where its room has no namespaces: it knows its processes, and ends them all.

Loaded by the agent where it is no pid 1. It imports nothing of ours. All processes of the room are its
descendants: it is their subreaper, so that those whose parents have ended become its children.
"""

import _ctypes
import _signal  # type: ignore[import-not-found]
import posix
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LANDLOCK_RESTRICT_SELF = 446
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
END_S, PAUSE_S = 8.0, 0.002
NOT_PERMITTED = 1

_here: "Any" = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]
_prctl, _syscall = (_ctypes.dlsym(_here, name) for name in ("prctl", "syscall"))


class OnHost:
    """The processes of a room on the host. `cage` is the ruleset that each of them enters, -1 for none."""

    def __init__(self, cage: int) -> None:
        self._cage = cage
        self._self = posix.getpid()
        self.is_told_to_end = False
        if cage >= 0:
            posix.set_inheritable(cage, False)
            self._check_shut_in()
        if _ctypes.call_cdeclfunction(_prctl, (PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) != 0:
            raise OSError("cannot collect what the room's processes leave behind")
        _signal.signal(_signal.SIGTERM, self._end)

    is_entered_by_fork = False
    """Each command is to enter the ruleset, and to end with the agent."""

    def pids(self) -> list[int]:
        """All processes of the room but the agent."""
        parents = {}
        for name in posix.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                fd = posix.open("/proc/" + name + "/stat", posix.O_RDONLY | posix.O_CLOEXEC)
            except OSError:
                continue
            try:
                parents[int(name)] = int(posix.read(fd, 1024).rpartition(b")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            finally:
                posix.close(fd)
        found: set[int] = set()
        grown = {self._self}
        while grown:
            grown = {pid for pid, parent in parents.items() if parent in grown and pid not in found}
            found |= grown
        return sorted(found)

    def enter(self) -> None:
        """In a child, before anything of a user runs. Raises OSError."""
        _signal.signal(_signal.SIGTERM, _signal.SIG_DFL)
        if _ctypes.call_cdeclfunction(_prctl, (PR_SET_PDEATHSIG, _signal.SIGKILL, 0, 0, 0)) != 0:
            raise OSError(NOT_PERMITTED, "cannot be made to end with the room")
        if self._cage >= 0 and _ctypes.call_cdeclfunction(
            _syscall, (LANDLOCK_RESTRICT_SELF, self._cage, 0)
        ) != 0:
            raise OSError(NOT_PERMITTED, "cannot be shut in")

    def signal_all(self, number: int) -> None:
        """Send a signal to everything in the room but the agent.

        Shut in, the kernel knows who that is, and nothing that is just being forked gets by.
        """
        for pid in [-1] if self._cage >= 0 else self.pids():
            try:
                posix.kill(pid, number)
            except OSError:
                # It has ended, or there is none at all.
                continue

    def end(self) -> bool:
        """Kill everything in the room; whether nothing is left."""
        deadline = time.monotonic() + END_S
        while time.monotonic() < deadline:
            self.signal_all(_signal.SIGKILL)
            try:
                while posix.waitpid(-1, posix.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return True
            time.sleep(PAUSE_S)
        return False

    def tasks_of_user(self) -> int:
        """How many processes and threads the room's user has besides, on the whole machine."""
        tasks, uid = 0, posix.getuid()
        for name in posix.listdir("/proc"):
            try:
                if name.isdigit() and posix.stat("/proc/" + name).st_uid == uid:
                    tasks += posix.stat("/proc/" + name + "/task").st_nlink - 2
            except OSError:
                continue
        return tasks

    def _check_shut_in(self) -> None:
        """A signal to all may go no further than the room: without that nothing may be started."""
        try:
            posix.kill(posix.getppid(), 0)
        except PermissionError:
            return
        raise OSError("the room's agent is not shut in")

    def _end(self, _number: int, _frame: object) -> None:
        self.is_told_to_end = True
