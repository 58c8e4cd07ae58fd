"""A tree of files as it was when it was looked at: whoever compares knows what has changed since.

All is looked at by descriptors, and no link is ever followed. Nobody may work in a tree meanwhile.
"""

import contextlib
import errno
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

MOST_DEPTH = 150
"""Folders in folders: each takes descriptors while what is in it is copied."""

BY_ROOT = os.geteuid() == 0
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_COARSE_CLOCK = 5
"""CLOCK_REALTIME_COARSE, by which file systems note times."""


class TooDeep(OSError):
    """Folders in folders, deeper than is copied by descriptors."""

    def __init__(self) -> None:
        super().__init__(errno.ENAMETOOLONG, f"folders lie in folders more than {MOST_DEPTH} deep")


@dataclass(frozen=True, slots=True)
class Node:
    """A file, folder, link or pipe. `device` to `changed` are of the tree that was looked at, as it was then.

    `at` is where a link leads, or the path of an earlier file that is the same one.
    """

    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    modified: int
    device: int = 0
    inode: int = 0
    changed: int = 0
    at: str | None = None

    def is_still(self, found: os.stat_result) -> bool:
        """Whether a file is the very one, unchanged: whoever writes to one changes its times."""
        return (self.device, self.inode, self.size, self.modified, self.changed) == (
            found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns,
        )  # fmt: skip

    @classmethod
    def of(cls, kind: str, found: os.stat_result, at: str | None = None) -> Self:
        return cls(
            kind, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, found.st_size, found.st_mtime_ns,
            found.st_dev, found.st_ino, found.st_ctime_ns, at,
        )  # fmt: skip


@dataclass(slots=True)
class Index:
    """What is in a tree, by path; "" is the tree itself. `copied` are the bytes that its copying took."""

    nodes: dict[str, Node] = field(default_factory=dict)
    copied: int = 0
    left_out: int = 0

    def write(self, file: Path) -> None:
        told = {
            "copied": self.copied,
            "nodes": {
                path: [getattr(node, name) for name in Node.__slots__] for path, node in self.nodes.items()
            },
        }
        file.write_text(json.dumps(told, separators=(",", ":")))

    @classmethod
    def read(cls, file: Path) -> Self:
        told = json.loads(file.read_text())
        return cls({path: Node(*values) for path, values in told["nodes"].items()}, int(told["copied"]))


def is_empty(tree: Path) -> bool:
    """One look, however much is in it."""
    with os.scandir(tree) as entries:
        return next(entries, None) is None


def is_still(tree: Path, index: Index) -> bool:
    """Whether nothing has changed in the tree since the index was made of it."""
    with opened(tree) as fd:
        return _same(fd, "", index) == len(index.nodes) - 1


def size_of(tree: Path) -> int:
    """Bytes that it takes on the disk; what goes while it is looked at does not count."""
    size = 0
    with contextlib.suppress(FileNotFoundError), os.scandir(tree) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError, PermissionError):
                size += entry.stat(follow_symlinks=False).st_blocks * 512
                if entry.is_dir(follow_symlinks=False):
                    size += size_of(Path(entry.path))
    return size


def look_at(tree: Path) -> Index:
    """What is in it. Raises OSError, TooDeep."""
    listing = Listing(Index())
    with opened(tree) as source:
        listing.index.nodes[""] = Node.of("folder", os.fstat(source))
        listing.folder(source, "", 0)
    return listing.index


@dataclass
class Listing:
    """Looks at a tree."""

    index: Index
    seen: dict[tuple[int, int], str] = field(default_factory=dict)

    def folder(self, source: int, path: str, depth: int) -> None:
        for name, inner, found, kind in entries_of(source, path, depth):
            if kind == "link":
                self.index.nodes[inner] = Node.of(kind, found, os.readlink(name, dir_fd=source))
            elif kind != "other":
                at = self.earlier(inner, found) if kind == "file" else None
                self.index.nodes[inner] = Node.of(kind, found, at)
            else:
                self.index.left_out += 1
            if kind == "folder":
                with opened_in(source, name) as fd:
                    self.folder(fd, inner, depth + 1)

    def earlier(self, path: str, found: os.stat_result) -> str | None:
        """Where the same file was met before, under another name."""
        if found.st_nlink < 2:
            return None
        first = self.seen.setdefault((found.st_dev, found.st_ino), path)
        return None if first == path else first


def _same(fd: int, path: str, index: Index, depth: int = 0) -> int:
    """How many things in a folder are as the index says; -1 where one is not."""
    count = 0
    for name, inner, found, kind in entries_of(fd, path, depth):
        node = index.nodes.get(inner)
        if kind == "other":
            continue
        if node is None or node.kind != kind or not _is_as(node, found, kind):
            return -1
        count += 1
        if kind == "folder":
            with opened_in(fd, name) as beneath:
                more = _same(beneath, inner, index, depth + 1)
            if more < 0:
                return -1
            count += more
    return count


def _is_as(node: Node, found: os.stat_result, kind: str) -> bool:
    if kind == "folder":
        # Whatever is in it is looked at by itself.
        return (node.device, node.inode, node.mode) == (
            found.st_dev, found.st_ino, stat.S_IMODE(found.st_mode)
        )  # fmt: skip
    return node.is_still(found)


_KINDS: tuple[tuple[str, Callable[[int], bool]], ...] = (
    ("file", stat.S_ISREG), ("folder", stat.S_ISDIR), ("link", stat.S_ISLNK), ("pipe", stat.S_ISFIFO),
)  # fmt: skip


def kind_of(found: os.stat_result) -> str:
    """What a thing is; sockets and devices are `other`."""
    return next((kind for kind, is_it in _KINDS if is_it(found.st_mode)), "other")


def entries_of(fd: int, path: str, depth: int) -> Iterator[tuple[str, str, os.stat_result, str]]:
    """What is in a folder: its name, its path in the tree, what it is like."""
    if depth > MOST_DEPTH:
        raise TooDeep
    with os.scandir(fd) as entries:
        names = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
    for name, found in names:
        yield name, f"{path}/{name}" if path else name, found, kind_of(found)


@contextlib.contextmanager
def opened(tree: Path) -> Iterator[int]:
    fd = os.open(tree, FOLDER)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def opened_in(folder: int, name: str) -> Iterator[int]:
    """A folder in a folder; one that its owner may not enter is let be entered for as long."""
    closed: int | None = None
    try:
        fd = os.open(name, FOLDER, dir_fd=folder)
        mode = stat.S_IMODE(os.fstat(fd).st_mode)
        if not BY_ROOT and mode & 0o700 != 0o700:
            os.fchmod(fd, mode | 0o700)
            closed = mode
    except PermissionError:
        closed = stat.S_IMODE(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
        os.chmod(name, closed | 0o700, dir_fd=folder)
        fd = os.open(name, FOLDER, dir_fd=folder)
    try:
        yield fd
    finally:
        if closed is not None:
            os.fchmod(fd, closed)
        os.close(fd)


def let_the_clock_move(newest_ns: int) -> None:
    """Until a file that is written to from now on gets another time than those that were looked at have."""
    tick_ns = 2 * max(int(time.clock_getres(_COARSE_CLOCK) * 1e9), 1_000_000)
    while 0 <= (left := newest_ns + tick_ns - time.time_ns()) <= tick_ns:
        time.sleep(left / 1e9)
