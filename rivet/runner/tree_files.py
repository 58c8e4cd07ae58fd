"""Single files of a tree that is copied: their bytes, attributes, owners, modes and times."""

import contextlib
import errno
import os
import shutil
import stat

from rivet.runner.tree import BY_ROOT, Node

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ATTRIBUTES = ("user.", "system.posix_acl_")
_CHUNK = 64 * 1024 * 1024


def linked(source: str, name: str, source_folder: int, folder: int) -> bool:
    """Give a file another name; False where that cannot be, as with too many names, or too long a path."""
    try:
        os.link(source, name, src_dir_fd=source_folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True


def copy_file(name: str, node: Node, source: int, made: int, uid: int, gid: int) -> int:
    """How many bytes were copied."""
    reading = _opened_file(name, node, source)
    try:
        writing = os.open(name, _WRITE, 0o600, dir_fd=made)
        try:
            size = _copy_bytes(reading, writing, node.size)
            _copy_attributes(reading, writing)
            finish(writing, node, uid, gid)
        finally:
            os.close(writing)
    finally:
        os.close(reading)
    return size


def _opened_file(name: str, node: Node, folder: int) -> int:
    try:
        return os.open(name, _READ, dir_fd=folder)
    except PermissionError:
        os.chmod(name, node.mode | 0o400, dir_fd=folder)
        fd = os.open(name, _READ, dir_fd=folder)
        os.fchmod(fd, node.mode)
        return fd


def _copy_bytes(reading: int, writing: int, size: int) -> int:
    """With shared blocks where the file system can; holes stay holes."""
    copied = at = 0
    while at < size:
        try:
            start = os.lseek(reading, at, os.SEEK_DATA)
            end = os.lseek(reading, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break  # there is nothing but a hole any more
            start, end = at, size
        os.lseek(reading, start, os.SEEK_SET)
        os.lseek(writing, start, os.SEEK_SET)
        copied += _copy_part(reading, writing, end - start)
        at = end
    os.ftruncate(writing, size)
    return copied


def _copy_part(reading: int, writing: int, size: int) -> int:
    left, by_kernel = size, True
    while left > 0:
        done = 0
        if by_kernel:
            try:
                done = os.copy_file_range(reading, writing, min(left, _CHUNK))
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
                    raise
                by_kernel = False
                continue
        else:
            data = os.read(reading, min(left, 1024 * 1024))
            done = len(data)
            view = memoryview(data)
            while view:
                view = view[os.write(writing, view) :]
        if done == 0:
            break
        left -= done
    return size - left


def _copy_attributes(reading: int, writing: int) -> None:
    """What users set, and lists of who may do what; most files have none. Capabilities stay behind."""
    with contextlib.suppress(OSError):
        for name in os.listxattr(reading):
            if not name.startswith(_ATTRIBUTES):
                continue
            with contextlib.suppress(OSError):
                os.setxattr(writing, name, os.getxattr(reading, name))


def finish(fd: int, node: Node, uid: int | None = None, gid: int | None = None) -> None:
    """Owner, mode and times, in the order in which the one does not undo the other."""
    if BY_ROOT:
        os.fchown(fd, node.uid if uid is None else uid, node.gid if gid is None else gid)
    os.fchmod(fd, node.mode)
    os.utime(fd, ns=(node.modified, node.modified))


def make(name: str, node: Node, folder: int, uid: int | None = None, gid: int | None = None) -> None:
    """A link or a pipe."""
    if node.kind == "link":
        os.symlink(node.at or "", name, dir_fd=folder)
    else:
        os.mkfifo(name, 0o600, dir_fd=folder)
        set_mode(name, node.mode, folder)
    if BY_ROOT:
        owner = (node.uid if uid is None else uid, node.gid if gid is None else gid)
        os.chown(name, *owner, dir_fd=folder, follow_symlinks=False)
    os.utime(name, ns=(node.modified, node.modified), dir_fd=folder, follow_symlinks=False)


def set_mode(name: str, mode: int, folder: int) -> None:
    """Of a file or pipe itself: were it a link by now, this fails."""
    fd = os.open(name, _READ, dir_fd=folder)
    try:
        os.fchmod(fd, mode)
    finally:
        os.close(fd)


def clear(name: str, folder: int, found: os.stat_result) -> None:
    """Take away whatever is there."""
    if stat.S_ISDIR(found.st_mode):
        if not BY_ROOT:
            os.chmod(name, 0o700, dir_fd=folder)
        shutil.rmtree(name, dir_fd=folder)
    else:
        os.unlink(name, dir_fd=folder)
