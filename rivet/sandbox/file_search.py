"""Files by glob: which they are, and one digest over what they hold."""

import posix

from rivet.sandbox.file_trees import O_INNER
from rivet.sandbox.files import (
    FILE,
    FOLDER,
    KIND,
    LINK,
    NO_FOLDER,
    NO_LINKS,
    NOT_FOUND,
    PART,
    TOO_MANY,
    Folder,
    opened,
    stat_in,
    tell,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def glob(most: bytes, *patterns: bytes) -> None:
    """Tell the paths that match any of the patterns, in order of their bytes."""
    tell(b"\0".join(_matching(patterns, int(most))))


def _matching(patterns: "tuple[bytes, ...]", most: int) -> list[bytes]:
    search = Search(most)
    fd = opened(b"", posix.O_RDONLY | posix.O_DIRECTORY)
    try:
        for pattern in patterns:
            search.find(fd, pattern)
    finally:
        posix.close(fd)
    return sorted(search.found)


class Search:
    """Finds what matches a glob. `**` is any number of folders, `*`, `?` and `[a-z]` stay within a name.

    Links are found and never entered; `**` passes by folders named `.git`.
    """

    def __init__(self, most: int) -> None:
        self.found: set[bytes] = set()
        self._most = most
        self._been: set[tuple[bytes, int]] = set()

    def find(self, fd: int, pattern: bytes) -> None:
        """Add what matches beneath an open folder."""
        self._been.clear()
        self._walk(fd, b"", [part for part in pattern.split(b"/") if part not in (b"", b".")])

    def _walk(self, fd: int, folder: bytes, parts: list[bytes]) -> None:
        if not parts or (folder, len(parts)) in self._been:
            return
        if parts[0] != b"**":
            self._step(fd, folder, parts)
            return
        self._been.add((folder, len(parts)))
        self._walk(fd, folder, parts[1:])
        for name, is_folder in _entries(fd):
            if name == b".git":
                continue
            if len(parts) == 1:
                self._add(folder + name)
            if is_folder:
                self._enter(fd, folder, name, parts)

    def _step(self, fd: int, folder: bytes, parts: list[bytes]) -> None:
        if any(sign in parts[0] for sign in (b"*", b"?", b"[")):
            entries = [entry for entry in _entries(fd) if matches(parts[0], entry[0])]
        else:
            there = stat_in(fd, parts[0])
            entries = [] if there is None else [(parts[0], there.st_mode & KIND == FOLDER)]
        for name, is_folder in entries:
            if len(parts) == 1:
                self._add(folder + name)
            elif is_folder:
                self._enter(fd, folder, name, parts[1:])

    def _enter(self, fd: int, folder: bytes, name: bytes, parts: list[bytes]) -> None:
        try:
            inner = posix.open(name, O_INNER, dir_fd=fd)
        except OSError as error:
            if error.errno in (NOT_FOUND, NO_FOLDER, NO_LINKS):
                return
            raise
        try:
            self._walk(inner, folder + name + b"/", parts)
        finally:
            posix.close(inner)

    def _add(self, path: bytes) -> None:
        self.found.add(path)
        if len(self.found) > self._most:
            raise OSError(TOO_MANY, "too many")


def _entries(fd: int) -> list[tuple[bytes, bool]]:
    with posix.scandir(fd) as entries:
        return [
            (entry.name.encode("utf-8", "surrogateescape"), entry.is_dir(follow_symlinks=False))
            for entry in entries
        ]


def matches(pattern: bytes, name: bytes) -> bool:
    """Whether a name is one that a pattern without slashes means."""
    at = back_at = 0
    back: int | None = None
    place = 0
    while place < len(name):
        if at < len(pattern) and pattern[at] == 0x2A:
            back, back_at = at, place
            at += 1
            continue
        end = _one(pattern, at, name[place])
        if end:
            at, place = end, place + 1
        elif back is not None:
            back_at += 1
            at, place = back + 1, back_at
        else:
            return False
    return not pattern[at:].strip(b"*")


def _one(pattern: bytes, at: int, byte: int) -> int:
    """Where the pattern goes on if its part at `at` means this byte; else 0."""
    if at >= len(pattern):
        return 0
    end = pattern.find(b"]", at + 2) if pattern[at] == 0x5B else -1
    if end < 0:
        return at + 1 if pattern[at] in (0x3F, byte) else 0
    inside = pattern[at + 1 : end]
    negates = inside[:1] in (b"!", b"^")
    inside = inside[negates:]
    is_in = False
    while inside:
        if len(inside) >= 3 and inside[1] == 0x2D:
            is_in |= inside[0] <= byte <= inside[2]
            inside = inside[3:]
        else:
            is_in |= inside[0] == byte
            inside = inside[1:]
    return end + 1 if is_in != negates else 0


def digest(most: bytes, *patterns: bytes) -> None:
    """Tell one SHA-256 over the paths and contents of the files that match; nothing if none does."""
    new = _sha256()
    whole, count = new(), 0
    for path in _matching(patterns, int(most)):
        with Folder(path) as folder:
            found = folder.stat()
            kind = found.st_mode & KIND if found is not None else 0
            if kind == LINK:
                content = new(posix.readlink(folder.name, dir_fd=folder.fd)).digest()
            elif kind == FILE:
                content = _digest_of(posix.open(
                    folder.name, posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK, dir_fd=folder.fd
                ), new())
            else:
                continue
        whole.update(b"%b %d %b\0" % (b"link" if kind == LINK else b"file", len(path), path) + content)
        count += 1
    tell(whole.hexdigest().encode() if count else b"")


def _digest_of(fd: int, digest: "Any") -> bytes:
    try:
        while part := posix.read(fd, PART):
            digest.update(part)
    finally:
        posix.close(fd)
    result: bytes = digest.digest()
    return result


def _sha256() -> "Any":
    try:
        from _hashlib import openssl_sha256
    except ImportError:
        from hashlib import sha256

        return sha256
    return openssl_sha256
