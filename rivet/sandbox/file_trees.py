"""Whole folders: taken away, or copied. By descriptors, so that nothing can be swapped for a way out."""

import posix

from rivet.sandbox.files import (
    FILE,
    FOLDER,
    ITSELF,
    KIND,
    LINK,
    NO_FILE,
    Folder,
    check_target,
    names_in,
    stat_in,
    tell,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

O_INNER = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC


def remove(path: bytes) -> None:
    """Take away a file, a link, or a folder with all that is in it."""
    with Folder(path) as folder:
        found = folder.stat()
        if found is not None:
            _remove_in(folder.fd, folder.name, found)
    tell(b"gone" if found is not None else b"nothing")


def _remove_in(at: int, name: bytes, found: "Any") -> None:
    if found.st_mode & KIND != FOLDER:
        posix.unlink(name, dir_fd=at)
        return
    if found.st_mode & 0o700 != 0o700:
        posix.chmod(name, 0o700, dir_fd=at)
    fd = posix.open(name, O_INNER, dir_fd=at)
    try:
        for inner in list(names_in(fd)):
            inner_found = stat_in(fd, inner)
            if inner_found is not None:
                _remove_in(fd, inner, inner_found)
    finally:
        posix.close(fd)
    posix.rmdir(name, dir_fd=at)


def copy(source: bytes, target: bytes) -> None:
    """Copy a file, a link, or a folder with all that is in it; permissions come along."""
    with Folder(source) as of, Folder(target) as to:
        found = of.stat()
        check_target(found, to.stat())
        _copy_in(of.fd, of.name, to.fd, to.name, found, set())


def _copy_in(of: int, name: bytes, to: int, new: bytes, found: "Any", made: set[tuple[int, int]]) -> None:
    kind = found.st_mode & KIND
    if kind == FOLDER:
        _copy_folder(of, name, to, new, found, made)
    elif kind == LINK:
        posix.symlink(posix.readlink(name, dir_fd=of), new, dir_fd=to)
    elif kind == FILE:
        _copy_file(of, name, to, new, found.st_mode & 0o7777)
    else:
        raise OSError(NO_FILE, "no file")


def _copy_folder(
    of: int, name: bytes, to: int, new: bytes, found: "Any", made: set[tuple[int, int]]
) -> None:
    if (found.st_dev, found.st_ino) in made:
        raise OSError(ITSELF, "itself")
    posix.mkdir(new, 0o700, dir_fd=to)
    of_fd = posix.open(name, O_INNER, dir_fd=of)
    to_fd = posix.open(new, O_INNER, dir_fd=to)
    try:
        own = posix.fstat(to_fd)
        made.add((own.st_dev, own.st_ino))
        for inner in list(names_in(of_fd)):
            inner_found = stat_in(of_fd, inner)
            if inner_found is not None:
                _copy_in(of_fd, inner, to_fd, inner, inner_found, made)
        posix.fchmod(to_fd, found.st_mode & 0o7777)
    finally:
        posix.close(of_fd)
        posix.close(to_fd)


def _copy_file(of: int, name: bytes, to: int, new: bytes, mode: int) -> None:
    flags = posix.O_NOFOLLOW | posix.O_CLOEXEC | posix.O_NONBLOCK
    source = posix.open(name, posix.O_RDONLY | flags, dir_fd=of)
    try:
        target = posix.open(new, posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | flags, 0o600, dir_fd=to)
        try:
            while posix.sendfile(target, source, None, 1 << 30):
                pass
            posix.fchmod(target, mode)
        finally:
            posix.close(target)
    finally:
        posix.close(source)
