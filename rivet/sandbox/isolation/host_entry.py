"""What a child does between fork and exec to become the agent of a room that has no namespaces of its own.

Everything that needs an import, a lookup or much memory is done before the fork.
"""

import ctypes
import os
import resource
import signal

from rivet.sandbox.isolation.entry import at_most, call, prefer_for_oom_kill
from rivet.sandbox.isolation.landlock import ENTER

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_SECCOMP_MODE_FILTER = 2


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


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
        self._program = None
        if program is not None:
            self._instructions = ctypes.create_string_buffer(program, len(program))
            at = ctypes.cast(self._instructions, ctypes.c_void_p)
            self._program = _Program(len(program) // 8, at)

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
            call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            # A change of user takes this back, so it comes after one.
            call("prctl", _PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
            if os.getppid() != self._parent:
                os._exit(1)
            if self._ruleset is not None:
                step = "Landlock"
                call("syscall", ENTER, self._ruleset, 0)
            if self._program is not None:
                step = "system calls"
                call("prctl", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(self._program), 0, 0)
        except OSError as error:
            os.write(2, f"{step}: {error}\n".encode())
            os._exit(1)
