"""What the agent does with files: all of it beneath the workspace, and never through a way that leads out.

The agent loads this when it is first asked for a file. Like the agent it and its neighbours (`file_*.py`)
import as little as possible. Quick work is here, and done by the agent itself; what may take long is done by
a process of its own (`file_work.py`).

Paths are bytes, relative to `ROOT`, without `..`; links on the way are followed as long as they stay within.
"""

import _ctypes
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Stat = posix.stat_result

ROOT = b"/workspace"
MOST_LISTED = 10_000

NOT_FOUND, EXISTS, NO_FOLDER, IS_FOLDER, CROSSES, NOT_IMPLEMENTED, NOT_PERMITTED = 2, 17, 20, 21, 18, 38, 1
AGAIN = 11
OUTSIDE, TOO_MANY, TOO_LARGE, NO_FILE, ITSELF, NO_LINKS = 1001, 1002, 1003, 1004, 1005, 40
"""Our own numbers beside those of the system: `rivet.runner.room_files` has words for them."""

FOLDER, FILE, LINK, KIND = 0o040000, 0o100000, 0o120000, 0o170000
O_FOLDER = posix.O_PATH | posix.O_DIRECTORY
PART = 1 << 20
OPENAT2, AT_MOST_TRIES = 437, 20
RESOLVE_NO_MAGICLINKS, RESOLVE_BENEATH = 0x02, 0x08


class _Number(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "l"


class _Function(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Number


_syscall = _Function(_ctypes.dlsym(_ctypes.dlopen(None, 0), "syscall"))  # type: ignore[arg-type]


def opened(path: bytes, flags: int, mode: int = 0) -> int:
    """An open descriptor of a path beneath the root. Raises OSError, OUTSIDE where it leads out."""
    flags |= posix.O_CLOEXEC | (0 if flags & posix.O_PATH else posix.O_NONBLOCK | posix.O_NOCTTY)
    root = posix.open(ROOT, O_FOLDER | posix.O_CLOEXEC)
    try:
        return _beneath(root, path or b".", flags, mode)
    finally:
        posix.close(root)


def _beneath(root: int, path: bytes, flags: int, mode: int) -> int:
    numbers = (flags, mode if flags & posix.O_CREAT else 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
    how = b"".join(number.to_bytes(8, sys.byteorder) for number in numbers)
    error = AGAIN
    # The kernel says "again" where something was moved while it looked.
    for _ in range(AT_MOST_TRIES):
        fd: int = _syscall(OPENAT2, root, path, how, len(how))
        if fd >= 0:
            return fd
        error = _ctypes.get_errno()
        if error != AGAIN:
            break
    if error in (NOT_IMPLEMENTED, NOT_PERMITTED):
        return _checked(root, path, flags, mode)
    raise OSError(OUTSIDE if error == CROSSES else error, "leads out" if error == CROSSES else words(error))


def _checked(root: int, path: bytes, flags: int, mode: int) -> int:
    """Where the kernel (before 5.6) or what confines us has no openat2: opened first, then looked at."""
    if flags & posix.O_CREAT:
        folder, _, name = path.rstrip(b"/").rpartition(b"/")
        at = _checked(root, folder or b".", O_FOLDER | posix.O_CLOEXEC, 0)
        try:
            return posix.open(name, flags | posix.O_NOFOLLOW, mode, dir_fd=at)
        finally:
            posix.close(at)
    if path.startswith(b"/"):
        raise OSError(OUTSIDE, "leads out")
    last = flags & posix.O_NOFOLLOW
    fd = posix.open(path, posix.O_PATH | posix.O_CLOEXEC | last, dir_fd=root)
    try:
        whole, real = (posix.readlink(b"/proc/self/fd/%d" % each) for each in (root, fd))
        if real != whole and not real.startswith(whole + b"/"):
            raise OSError(OUTSIDE, "leads out")
        if last and posix.fstat(fd).st_mode & KIND == LINK:
            raise OSError(NO_LINKS, words(NO_LINKS))
        return posix.open(b"/proc/self/fd/%d" % fd, flags & ~posix.O_NOFOLLOW)
    finally:
        posix.close(fd)


def words(error: int) -> str:
    return posix.strerror(error)


class Folder:
    """An open folder beneath the root, and a name in it: what is there cannot be swapped for a way out."""

    def __init__(self, path: bytes) -> None:
        folder, _, self.name = path.rstrip(b"/").rpartition(b"/")
        self.name = self.name or b"."
        self.fd = opened(folder, O_FOLDER)

    def __enter__(self) -> "Folder":
        return self

    def __exit__(self, *_: object) -> None:
        posix.close(self.fd)

    def stat(self) -> "Stat | None":
        return stat_in(self.fd, self.name)


def stat_in(fd: int, name: bytes) -> "Stat | None":
    try:
        return posix.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def stat(path: bytes) -> tuple[int, bytes]:
    """The mode, and in the text size, time of change in nanoseconds, and where a link leads. 0 if nothing."""
    try:
        folder = Folder(path)
    except (FileNotFoundError, NotADirectoryError):
        return 0, b""
    with folder:
        found = folder.stat()
        if found is None:
            return 0, b""
        target = posix.readlink(folder.name, dir_fd=folder.fd) if found.st_mode & KIND == LINK else b""
        return found.st_mode, b"%d %d %b" % (found.st_size, found.st_mtime_ns, target)


def names(path: bytes) -> tuple[int, bytes]:
    """The names in a folder, in order."""
    fd = opened(path, posix.O_RDONLY | posix.O_DIRECTORY)
    try:
        found: list[bytes] = []
        for name in names_in(fd):
            found.append(name)
            if len(found) > MOST_LISTED:
                raise OSError(TOO_MANY, "too many")
    finally:
        posix.close(fd)
    return len(found), b"\0".join(sorted(found))


def names_in(fd: int) -> "Iterator[bytes]":
    with posix.scandir(fd) as entries:
        for entry in entries:
            yield entry.name.encode("utf-8", "surrogateescape")


def read(path: bytes, most: int) -> tuple[int, bytes]:
    """What a file holds, if that is at most so many bytes."""
    fd = _file(path, posix.O_RDONLY)
    try:
        parts, size = [], 0
        while part := posix.read(fd, PART):
            parts.append(part)
            size += len(part)
            if size > most:
                raise OSError(TOO_LARGE, "too large")
    finally:
        posix.close(fd)
    return size, b"".join(parts)


def write(path: bytes, data: bytes, mode: int, appends: bool) -> tuple[int, bytes]:
    """Make a file hold this, or hold it at its end."""
    fd = _file(path, posix.O_WRONLY | posix.O_CREAT | (posix.O_APPEND if appends else 0), mode)
    try:
        if not appends:
            posix.ftruncate(fd, 0)
        left = memoryview(data)
        while left:
            left = left[posix.write(fd, left) :]
    finally:
        posix.close(fd)
    return 0, b""


def _file(path: bytes, flags: int, mode: int = 0) -> int:
    """Opened, if it is a file: what else there is could block, or mean something to a device."""
    fd = opened(path, flags, mode)
    kind = posix.fstat(fd).st_mode & KIND
    if kind != FILE:
        posix.close(fd)
        raise OSError(IS_FOLDER if kind == FOLDER else NO_FILE, "no file")
    return fd


def mkdir(path: bytes) -> tuple[int, bytes]:
    """Make a folder, and those above it that are missing. One that is there is fine."""
    so_far = b""
    for name in path.split(b"/"):
        with Folder(so_far + name) as folder:
            try:
                posix.mkdir(folder.name, 0o755, dir_fd=folder.fd)
            except FileExistsError:
                pass
        so_far += name + b"/"
        posix.close(opened(so_far, O_FOLDER))
    return 0, b""


def move(source: bytes, target: bytes) -> tuple[int, bytes]:
    """Rename. A file may take the place of a file; a folder of nothing that is there."""
    with Folder(source) as of, Folder(target) as to:
        check_target(of.stat(), to.stat())
        posix.rename(of.name, to.name, src_dir_fd=of.fd, dst_dir_fd=to.fd)
    return 0, b""


def check_target(source: "Any", target: "Any") -> None:
    if source is None:
        raise OSError(NOT_FOUND, words(NOT_FOUND))
    if target is None:
        return
    if FOLDER in (target.st_mode & KIND, source.st_mode & KIND):
        raise OSError(EXISTS, words(EXISTS))
    if (source.st_dev, source.st_ino) == (target.st_dev, target.st_ino):
        raise OSError(ITSELF, "itself")


def tell(said: bytes) -> None:
    """Write a result to standard output, for whoever started this process."""
    left = memoryview(said)
    while left:
        left = left[posix.write(1, left) :]


QUICK = {"stat": stat, "names": names, "read": read, "write": write, "mkdir": mkdir, "move": move}
