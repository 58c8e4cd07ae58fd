"""What a child does between fork and exec, so that it becomes a room's bubblewrap with nothing to spare.

Everything that needs an import, a lookup or much memory is done by `Entry` before the fork. Started by root,
the child takes what the room is made of to a place that every user can enter (a tmpfs in a mount namespace
of its own), because Python, bubblewrap and the workspaces may all lie under a home of mode 0700; then it
becomes the workspace's user.
"""

import os
import resource
import signal
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from rivet.sandbox.isolation.kernel import (
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    at_most,
    call,
    prefer_for_oom_kill,
)

STAGING = "/tmp"  # noqa: S108
"""Covered in the child's own mount namespace only: it is there on every system."""

_CLONE_NEWNS = 0x00020000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x40000


@dataclass(frozen=True, slots=True)
class Staged:
    """A file or folder that is to be found under `name` in the staging folder."""

    name: str
    source: str


class Entry:
    """Called in the child. `uid` is the user to become; None to stay who one is, and nothing is staged.

    `open_files` is how many each process may have. How many processes there may be is for the room's own
    agent to limit: only within the room's namespace are those that the user runs besides not counted.
    """

    def __init__(self, uid: int | None, staged: Sequence[Staged], open_files: int) -> None:
        self._uid = uid
        self._staged = tuple(staged)
        self._parent = os.getpid()
        limits = ((resource.RLIMIT_NOFILE, open_files), (resource.RLIMIT_CORE, 0))
        self._limits = tuple((number, at_most(number, most)) for number, most in limits)

    def __call__(self) -> None:
        step = "start"
        try:
            step = "rlimits"
            for number, limits in self._limits:
                resource.setrlimit(number, limits)
            prefer_for_oom_kill()
            if self._uid is not None:
                step = "stage folders"
                self._stage()
                step = "change user"
                os.setgroups([])
                os.setresgid(self._uid, self._uid, self._uid)
                os.setresuid(self._uid, self._uid, self._uid)
            step = "no new privileges"
            call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            # A change of user takes this back, so it comes after one.
            call("prctl", PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
            if os.getppid() != self._parent:
                os._exit(1)
        except OSError as error:
            os.write(2, f"{step}: {error}\n".encode())
            os._exit(1)

    def _stage(self) -> None:
        call("unshare", _CLONE_NEWNS)
        call("mount", None, b"/", None, _MS_REC | _MS_PRIVATE, None)
        # Opened before the tmpfs hides what lies beneath it.
        opened = [(each, os.open(each.source, os.O_PATH | os.O_CLOEXEC)) for each in self._staged]
        call("mount", b"tmpfs", STAGING.encode(), b"tmpfs", _MS_NOSUID | _MS_NODEV, b"mode=755,size=1m")
        for each, fd in opened:
            target = f"{STAGING}/{each.name}"
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                os.mkdir(target, 0o755)
            else:
                os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
            call("mount", b"/proc/self/fd/%d" % fd, target.encode(), None, _MS_BIND | _MS_REC, None)
