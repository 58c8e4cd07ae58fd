"""What a child does between fork and exec to become the agent of a room that has no namespaces of its own.

Everything that needs an import, a lookup or much memory is done before the fork.
"""

import os
import resource
import signal

from rivet.sandbox.isolation.kernel import (
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    Filter,
    at_most,
    call,
    prefer_for_oom_kill,
)
from rivet.sandbox.isolation.landlock import ENTER


class HostEntry:
    """Called in the child. `uid` is the user to become; None to stay who one is.

    `ruleset` is Landlock's, `program` the filter of system calls; None of either for level `none`.
    The child is asked to end (SIGTERM) when the thread that forked it ends: it then ends what it started.
    """

    def __init__(self, uid: int | None, open_files: int, ruleset: int | None, program: bytes | None) -> None:
        self._uid, self._ruleset = uid, ruleset
        self._parent = os.getpid()
        limits = ((resource.RLIMIT_NOFILE, open_files), (resource.RLIMIT_CORE, 0))
        self._limits = tuple((number, at_most(number, most)) for number, most in limits)
        self._program = Filter(program) if program is not None else None

    def __call__(self) -> None:
        step = "start"
        try:
            os.setsid()
            step = "rlimits"
            for number, limits in self._limits:
                resource.setrlimit(number, limits)
            prefer_for_oom_kill()
            if self._uid is not None:
                step = "change user"
                os.setgroups([])
                os.setresgid(self._uid, self._uid, self._uid)
                os.setresuid(self._uid, self._uid, self._uid)
            step = "no new privileges"
            call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            # A change of user takes this back, so it comes after one.
            call("prctl", PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
            if os.getppid() != self._parent:
                os._exit(1)
            if self._ruleset is not None:
                step = "Landlock"
                call("syscall", ENTER, self._ruleset, 0)
            if self._program is not None:
                step = "system calls"
                self._program.enter()
        except OSError as error:
            os.write(2, f"{step}: {error}\n".encode())
            os._exit(1)
