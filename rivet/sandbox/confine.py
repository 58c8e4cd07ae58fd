"""How a process gives up its rights, one kernel call a step. Standard library only: the zygote imports it.

Everything that needs a file, an import or memory is done by `Confinement` before the fork, so that after it
only system calls are left.
"""

import ctypes
import os
import resource
import signal
from collections.abc import Mapping

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_SECCOMP_MODE_FILTER = 2
_CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def die_with(parent: int) -> None:
    """End by SIGKILL when `parent` (its forking thread) ends; at once if it is gone already.

    A change of user takes this back, so it comes after one.
    """
    _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def leave_network() -> None:
    """Enter an empty network namespace. Needs root; raises OSError."""
    _call("unshare", _CLONE_NEWNET)


class Confinement:
    """The steps by which a Lua child is shut in, made ready before the fork.

    `program` is the seccomp allow-list; `uid` the user to become, or None to stay who one is.
    """

    def __init__(self, program: bytes, uid: int | None) -> None:
        self._uid = uid
        self._instructions = ctypes.create_string_buffer(program, len(program))
        self._program = _Program(len(program) // 8, ctypes.cast(self._instructions, ctypes.c_void_p))

    def enter(self, parent: int, limits: Mapping[int, int]) -> None:
        """Shut this process in: `limits` are rlimits by their number. Raises OSError."""
        for number, most in limits.items():
            resource.setrlimit(number, (most, most + (number == resource.RLIMIT_CPU)))
        if self._uid is not None:
            os.setgroups([])
            os.setresgid(self._uid, self._uid, self._uid)
            os.setresuid(self._uid, self._uid, self._uid)
        _call("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)
        die_with(parent)
        _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _call("prctl", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(self._program), 0, 0)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
