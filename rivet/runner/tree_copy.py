"""Copies of trees of files, in which what has not changed is not copied again.

Files keep mode, times and extended attributes; hard links within a tree stay hard links; pipes are made anew,
sockets and devices are left out. Started by root, what belonged to the tree's owner belongs to the new one's.
All is done by descriptors, and no link is ever followed. Nobody may work in a tree meanwhile.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from rivet.runner.tree import (
    BY_ROOT,
    FOLDER,
    MOST_DEPTH,
    Index,
    Listing,
    Node,
    TooDeep,
    entries_of,
    kind_of,
    let_the_clock_move,
    look_at,
    opened,
    opened_in,
)
from rivet.runner.tree_files import clear, copy_file, finish, linked, make, set_mode


def take(tree: Path, target: Path, before: Path | None = None, known: Index | None = None) -> Index:
    """Copy a tree to `target`, which must not be there; a file that `known` says is unchanged is linked from
    the earlier copy `before`. Raises OSError, TooDeep.
    """
    taking = _Taking(Index(), known or Index())
    target.mkdir(mode=0o700)
    with opened(tree) as source, opened(target) as made, _maybe(before) as earlier:
        found = os.fstat(source)
        taking.index.nodes[""] = Node.of("folder", found)
        taking.root = made
        taking.folder(source, made, earlier, "", 0)
        finish(made, Node.of("folder", found))
    let_the_clock_move(taking.newest)
    return taking.index


def put_back(tree: Path, index: Index, target: Path, owner: int | None) -> Index:
    """Make `target` what `index` says of the copy `tree`, with as little work as may be; it may not be there.

    `index` tells by what it knows of the tree that was copied which files of `target` still are what they
    were. `owner` has everything that belonged to the tree's. The index of `target` as it is then. Raises
    OSError, TooDeep.
    """
    root = index.nodes[""]
    putting = _Putting(index, root, owner)
    target.mkdir(mode=0o700, exist_ok=True)
    with opened(tree) as source, opened(target) as made:
        putting.root = made
        putting.folder(source, made, "", 0)
        putting.new.nodes[""] = putting.finished(made, root)
    putting.note_links()
    let_the_clock_move(max((node.changed for node in putting.new.nodes.values()), default=0))
    return putting.new


def plain_copy(tree: Path, target: Path, owner: int | None) -> Index:
    """Copy a tree of which nothing is known to `target`, which must not be there. Raises OSError, TooDeep."""
    return put_back(tree, look_at(tree), target, owner)


@dataclass
class _Taking:
    """Copies a tree, with an index of it as it was."""

    index: Index
    known: Index
    newest: int = 0
    root: int = -1
    seen: Listing = field(default_factory=lambda: Listing(Index()))

    def folder(self, source: int, made: int, earlier: int | None, path: str, depth: int) -> None:
        for name, inner, found, kind in entries_of(source, path, depth):
            if kind == "other":
                self.index.left_out += 1
                continue
            self.newest = max(self.newest, found.st_ctime_ns)
            at = os.readlink(name, dir_fd=source) if kind == "link" else None
            if kind == "file":
                at = self.seen.earlier(inner, found)
            self.index.nodes[inner] = node = Node.of(kind, found, at)
            if kind == "folder":
                os.mkdir(name, 0o700, dir_fd=made)
                inner_folders = opened_in(source, name), opened_in(made, name), _beneath(earlier, name)
                with inner_folders[0] as fd, inner_folders[1] as new, inner_folders[2] as old:
                    self.folder(fd, new, old, inner, depth + 1)
                    finish(new, node)
            elif kind == "file":
                self.file(name, inner, node, source, made, earlier)
            else:
                make(name, node, made)

    def file(self, name: str, path: str, node: Node, source: int, made: int, earlier: int | None) -> None:
        if node.at is not None and linked(node.at, name, self.root, made):
            return
        known = self.known.nodes.get(path)
        unchanged = known is not None and earlier is not None and _same_file(known, node)
        if unchanged and earlier is not None and linked(name, name, earlier, made):
            return
        self.index.copied += copy_file(name, node, source, made, node.uid, node.gid)


@dataclass
class _Putting:
    """Makes a tree what an index says, out of a copy."""

    index: Index
    of: Node
    owner: int | None
    new: Index = field(default_factory=Index)
    root: int = -1
    _inside: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path in self.index.nodes:
            if path:
                self._inside.setdefault(path.rpartition("/")[0], []).append(path)

    def folder(self, source: int, made: int, path: str, depth: int) -> None:
        if depth > MOST_DEPTH:
            raise TooDeep
        wanted = {inner.rpartition("/")[2]: inner for inner in self._inside.get(path, ())}
        there: dict[str, os.stat_result] = {}
        with os.scandir(made) as entries:
            for entry in entries:
                there[entry.name] = entry.stat(follow_symlinks=False)
        for name, found in there.items():
            if name not in wanted or kind_of(found) != self.index.nodes[wanted[name]].kind:
                clear(name, made, found)
        for name, inner in wanted.items():
            node, here = self.index.nodes[inner], there.get(name)
            here = here if here is not None and kind_of(here) == node.kind else None
            self.new.nodes[inner] = self.one(name, inner, node, here, source, made, depth)

    def one(
        self,
        name: str,
        path: str,
        node: Node,
        here: os.stat_result | None,
        source: int,
        made: int,
        depth: int,
    ) -> Node:
        if node.kind == "folder":
            if here is None:
                os.mkdir(name, 0o700, dir_fd=made)
            with opened_in(source, name) as fd, opened_in(made, name) as new:
                self.folder(fd, new, path, depth + 1)
                return self.finished(new, node)
        if here is not None and self.stays(name, node, here, made):
            return self.owned(name, node, here, made)
        if here is not None:
            os.unlink(name, dir_fd=made)
        if node.kind != "file":
            make(name, node, made, self.uid(node), self.gid(node))
        elif node.at is None or not linked(node.at, name, self.root, made):
            self.new.copied += copy_file(name, node, source, made, self.uid(node), self.gid(node))
        return Node.of(node.kind, os.stat(name, dir_fd=made, follow_symlinks=False), node.at)

    def stays(self, name: str, node: Node, here: os.stat_result, made: int) -> bool:
        """Whether what is there is what it was; of hard links, whether it is still the same as the first."""
        if node.kind == "link":
            return os.readlink(name, dir_fd=made) == node.at
        if node.kind == "pipe":
            return stat.S_IMODE(here.st_mode) == node.mode
        if node.at is not None:
            first = self.new.nodes.get(node.at)
            return first is not None and (first.device, first.inode) == (here.st_dev, here.st_ino)
        return node.is_still(here)

    def owned(self, name: str, node: Node, here: os.stat_result, made: int) -> Node:
        uid, gid = self.uid(node), self.gid(node)
        if BY_ROOT and (here.st_uid, here.st_gid) != (uid, gid):
            os.chown(name, uid, gid, dir_fd=made, follow_symlinks=False)
            if node.mode & (stat.S_ISUID | stat.S_ISGID):
                set_mode(name, node.mode, made)
            here = os.stat(name, dir_fd=made, follow_symlinks=False)
        return Node.of(node.kind, here, node.at)

    def finished(self, made: int, node: Node) -> Node:
        finish(made, node, self.uid(node), self.gid(node))
        return Node.of("folder", os.fstat(made))

    def note_links(self) -> None:
        """Each further name of a file changes its times: those that were noted with the first name, too."""
        nodes = self.new.nodes
        last = {(node.device, node.inode): node.changed for node in nodes.values() if _is_link(node)}
        for path, node in nodes.items():
            changed = last.get((node.device, node.inode))
            if changed is not None and node.kind == "file":
                nodes[path] = replace(node, changed=changed)

    def uid(self, node: Node) -> int:
        return self.owner if self.owner is not None and node.uid == self.of.uid else node.uid

    def gid(self, node: Node) -> int:
        return self.owner if self.owner is not None and node.gid == self.of.gid else node.gid


def _is_link(node: Node) -> bool:
    return node.kind == "file" and node.at is not None


def _same_file(known: Node, node: Node) -> bool:
    return (known.device, known.inode, known.size, known.modified, known.changed) == (
        node.device, node.inode, node.size, node.modified, node.changed,
    )  # fmt: skip


@contextlib.contextmanager
def _maybe(tree: Path | None) -> Iterator[int | None]:
    if tree is None:
        yield None
        return
    with opened(tree) as fd:
        yield fd


@contextlib.contextmanager
def _beneath(folder: int | None, name: str) -> Iterator[int | None]:
    """The folder of that name in an earlier copy, where there is one."""
    try:
        fd = None if folder is None else os.open(name, FOLDER, dir_fd=folder)
    except OSError:
        fd = None
    try:
        yield fd
    finally:
        if fd is not None:
            os.close(fd)
