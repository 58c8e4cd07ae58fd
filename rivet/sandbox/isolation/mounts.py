"""Mounts as descriptors: taken or made first, put in their place later. Standard library alone.

A descriptor can be taken where a path can be seen, and put where it cannot: so a room's own user need not
be able to enter the folders in which its workspace lies. Linux 5.12 or newer. Raises OSError throughout.
"""

import os
import stat
import struct

from rivet.sandbox.isolation.kernel import call, system_call

READ_ONLY, NO_SUID, NO_DEVICES, NO_PROGRAMS = 1, 2, 4, 8

_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _MOUNT_SETATTR = 428, 429, 430, 431, 432, 442
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_CLONE, _CLOSE_ON_EXEC = 1, os.O_CLOEXEC
_HERE, _EMPTY_PATH, _RECURSIVE = -100, 0x1000, 0x8000
_FROM_EMPTY_PATH = 4
_SET_STRING, _CREATE = 1, 6
_PRIVATE, _REC = 1 << 18, 1 << 14
_DETACH = 2


def taken(path: bytes, attributes: int) -> int:
    """What is seen at a path, with all that is mounted beneath it; later changes of either do not follow."""
    tree = system_call(
        "open_tree", _OPEN_TREE, _HERE, path, _CLONE | _CLOSE_ON_EXEC | _RECURSIVE
    )
    _set(tree, b"", _EMPTY_PATH | _RECURSIVE, attributes)
    return tree


def made(kind: bytes, attributes: int, **options: str) -> int:
    """A new file system of this kind (`tmpfs`, `proc`, `devpts`), seen nowhere yet."""
    context = system_call("fsopen", _FSOPEN, kind, 1)
    try:
        for name, value in {"source": kind.decode(), **options}.items():
            system_call(
                "fsconfig", _FSCONFIG, context, _SET_STRING, name.encode() + b"\0", value.encode() + b"\0", 0
            )
        system_call("fsconfig", _FSCONFIG, context, _CREATE, None, None, 0)
        return system_call("fsmount", _FSMOUNT, context, 1, attributes)
    finally:
        os.close(context)


def put(mount: int, target: bytes) -> None:
    """Show a mount at a path, where a folder or an empty file is made for it unless there is something."""
    if stat.S_ISDIR(os.fstat(mount).st_mode):
        make_folder(target)
    elif not os.path.lexists(target):
        make_file(target, b"", 0o444)
    system_call("move_mount", _MOVE_MOUNT, mount, b"", _HERE, target, _FROM_EMPTY_PATH)
    os.close(mount)


def make_folder(path: bytes, mode: int = 0o755) -> None:
    """With those above it; one that is there stays as it is."""
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        return
    except FileNotFoundError:
        make_folder(os.path.dirname(path))
        os.mkdir(path, mode)


def make_file(path: bytes, content: bytes, mode: int) -> None:
    """A new file, or new content for one that is there, with the folders above it."""
    make_folder(os.path.dirname(path))
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        while content:
            content = content[os.write(fd, content) :]
    finally:
        os.close(fd)


def make_read_only(path: bytes) -> None:
    """The mount at a path, not those beneath it."""
    _set(_HERE, path, 0, READ_ONLY)


def hide_from_others() -> None:
    """What is mounted from here on is seen in this mount namespace alone, and what others mount is not."""
    call("mount", b"none", b"/", None, _PRIVATE | _REC, None)


def become_root(mount: int, over: bytes) -> None:
    """Make a mount `/`, and let go of everything that was seen before. `over` is any folder that there is."""
    system_call("move_mount", _MOVE_MOUNT, mount, b"", _HERE, over, _FROM_EMPTY_PATH)
    os.fchdir(mount)
    os.close(mount)
    system_call("pivot_root", _PIVOT_ROOT[os.uname().machine], b".", b".")
    # The old root now lies over the new one.
    call("umount2", b".", _DETACH)
    os.chdir("/")


def _set(at: int, path: bytes, flags: int, attributes: int) -> None:
    wanted = struct.pack("=QQQQ", attributes, 0, _PRIVATE, 0)
    system_call("mount_setattr", _MOUNT_SETATTR, at, path, flags, wanted, len(wanted))
