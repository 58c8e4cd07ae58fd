"""Landlock rulesets: which files of the host, and which TCP port, processes may use.

A ruleset is a descriptor. A process that enters it, and all that it starts, has no more of files, TCP,
signals and abstract sockets than it names, for good. What Landlock does not know (other sockets, changes of
mode, `stat`) is for the filter of system calls, or not to be had at this level: see `docs/security.md`.
"""

import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LEAST_ABI = 6
"""Linux 6.12: from it on signals and abstract sockets are bounded too."""
ENTER = 446
"""The number of `landlock_restrict_self`, on every architecture."""
_CREATE, _ADD = 444, 445
_VERSION = 1
_BENEATH, _PORT = 1, 2

EXECUTE, WRITE_FILE, READ_FILE, READ_FOLDER = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_FOLDER, REMOVE_FILE = 1 << 4, 1 << 5
MAKE_DEVICE, MAKE_FOLDER, MAKE_FILE, MAKE_SOCKET, MAKE_PIPE, MAKE_BLOCK_DEVICE, MAKE_LINK = (
    1 << bit for bit in range(6, 13)
)
MOVE, TRUNCATE, DEVICE_CONTROL = 1 << 13, 1 << 14, 1 << 15
EVERY_FILE_RIGHT = (1 << 16) - 1
BIND_TCP, CONNECT_TCP = 1 << 0, 1 << 1
EVERY_TCP_RIGHT = BIND_TCP | CONNECT_TCP
ABSTRACT_SOCKETS, SIGNALS = 1 << 0, 1 << 1

READ = EXECUTE | READ_FILE | READ_FOLDER
_MAKE = MAKE_FOLDER | MAKE_FILE | MAKE_PIPE | MAKE_LINK
WRITE = READ | WRITE_FILE | TRUNCATE | REMOVE_FOLDER | REMOVE_FILE | _MAKE | MOVE
USE_DEVICE = READ_FILE | WRITE_FILE
_OF_FILES = EXECUTE | READ_FILE | WRITE_FILE | TRUNCATE | DEVICE_CONTROL

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class NoLandlock(Exception):
    """The kernel has no Landlock, or an older one; the message says which."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What may be used. Everything that is named here is meant with all that is beneath it.

    What is not there is passed over. `port` is the one TCP port that may be connected to, at any address:
    Landlock knows no more of a connection.
    """

    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    devices: tuple[Path, ...] = ()
    port: int | None = None

    def rights(self) -> dict[Path, int]:
        """The rights by path; one that is named twice has both."""
        found: dict[Path, int] = {}
        for paths, rights in ((self.read, READ), (self.write, WRITE), (self.devices, USE_DEVICE)):
            for path in paths:
                found[path] = found.get(path, 0) | rights
        return found


def find_abi() -> int:
    """The kernel's version of Landlock. Raises NoLandlock where it is too old, or switched off."""
    version = int(_libc.syscall(_CREATE, None, ctypes.c_size_t(0), _VERSION))
    if version < 0:
        raise NoLandlock(f"this kernel has no Landlock, or does not let it be used: {_error()}")
    if version < LEAST_ABI:
        raise NoLandlock(
            f"this kernel's Landlock has version {version}, and {LEAST_ABI} or newer (Linux 6.12) is needed"
        )
    return version


def make_ruleset(rules: Rules) -> int:
    """A descriptor of the ruleset, closed on exec. Raises NoLandlock, OSError."""
    find_abi()
    handled = struct.pack("=QQQ", EVERY_FILE_RIGHT, EVERY_TCP_RIGHT, ABSTRACT_SOCKETS | SIGNALS)
    ruleset = int(_libc.syscall(_CREATE, handled, ctypes.c_size_t(len(handled)), 0))
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), f"landlock_create_ruleset: {_error()}")
    try:
        for path, rights in rules.rights().items():
            _allow_beneath(ruleset, path, rights)
        if rules.port is not None:
            _add(ruleset, _PORT, struct.pack("=QQ", CONNECT_TCP, rules.port))
    except BaseException:
        os.close(ruleset)
        raise
    return ruleset


def outermost(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Those paths that none of the others holds."""
    found = sorted(set(paths), key=lambda path: len(path.parts))
    return tuple(path for path in found if not set(path.parents) & set(found))


def _allow_beneath(ruleset: int, path: Path, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= _OF_FILES
        _add(ruleset, _BENEATH, struct.pack("=Qi", rights, fd))
    finally:
        os.close(fd)


def _add(ruleset: int, kind: int, rule: bytes) -> None:
    if _libc.syscall(_ADD, ruleset, kind, rule, 0) != 0:
        raise OSError(ctypes.get_errno(), f"landlock_add_rule: {_error()}")


def _error() -> str:
    return os.strerror(ctypes.get_errno())
