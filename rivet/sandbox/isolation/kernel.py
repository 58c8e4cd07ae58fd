"""Calls of the kernel that Python has no name for. Standard library alone: programs in rooms use them.

All of them are looked up before any fork. Raises OSError throughout, with the name of the call.
"""

import ctypes
import os
import resource

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 24, 38
PR_SET_CHILD_SUBREAPER, PR_CAP_AMBIENT = 36, 47
_PR_SET_NAME = 15
_SECCOMP_MODE_FILTER = 2
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITIES_VERSION = 0x20080522
_MOST_CAPABILITIES = 64


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


class Filter:
    """A filter of system calls, made ready before the fork; `program` is as `seccomp.py` assembles it."""

    def __init__(self, program: bytes) -> None:
        self._instructions = ctypes.create_string_buffer(program, len(program))
        at = ctypes.cast(self._instructions, ctypes.c_void_p)
        self._program = _Program(len(program) // 8, at)

    def enter(self) -> None:
        """From here on it holds for this process and all that it starts."""
        call("prctl", PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(self._program), 0, 0)


def call(name: str, *arguments: object) -> None:
    """One of libc's functions that give 0."""
    if getattr(_libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def system_call(name: str, number: int, *arguments: int | bytes | None) -> int:
    """A system call that libc has no function for; what it gives."""
    given = int(_libc.syscall(ctypes.c_long(number), *map(_argument, arguments)))
    if given < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return given


def name_process(name: bytes) -> None:
    """What `ps -o comm` tells of it: at most 15 bytes."""
    call("prctl", _PR_SET_NAME, name, 0, 0, 0)


def drop_capabilities() -> None:
    """All of them, and the possibility to get them back."""
    for capability in range(_MOST_CAPABILITIES):
        if _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break  # the kernel has no more
    call("prctl", PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    head = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0)
    call("capset", head, (ctypes.c_uint32 * 6)())


def at_most(number: int, most: int) -> tuple[int, int]:
    """A limit, soft and hard, no higher than what we have ourselves."""
    hard = resource.getrlimit(number)[1]
    wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
    return wanted, wanted


def prefer_for_oom_kill() -> None:
    """When memory runs out, what strangers started goes before the runner."""
    try:
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        os.write(fd, b"500")
        os.close(fd)
    except OSError:
        pass


def _argument(given: int | bytes | None) -> object:
    return ctypes.c_long(given) if isinstance(given, int) else given


# Looked up once before any fork: the child then finds them made.
for _name in ("prctl", "unshare", "mount", "umount2", "syscall", "capset", "sethostname", "ioctl"):
    getattr(_libc, _name)
