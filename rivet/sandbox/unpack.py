"""Unpacks a stream of files below a folder, and never outside of it; runs in a room, or is used as a library.

Runs by itself (`python -I -S -c … REQUEST`, the stream on standard input), imports nothing of ours. REQUEST
is JSON: `form` is `file` or `tar`, `filename` and `size` are of a single one, `folders` are the room's
folders by the first part of a member's name (`""`: every name, whole), `into` is a path below them,
`wanted`, if there, the paths below which something is unpacked. `exactly` gives folders the mode and time
that they had, and files their time to the fraction of a second; then the stream may hold several tars, one
after another, of which a later file stands for an earlier one of its name.
What goes wrong is the last line on standard error; how many files there were is written to standard output.

A folder is entered by its own descriptor and no link is followed, of the archive or there before. Links are
made last.
"""

import json
import os
import stat
import sys
import tarfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

COPY_BYTES = 1 << 20
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Wrong(Exception):
    """The stream cannot be unpacked; the message says why."""


class Below:
    """Makes files below one folder. The last folder that was used stays open."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._parts: tuple[str, ...] = ()
        self._fd = os.dup(self._top)
        self.links: dict[tuple[str, ...], str] = {}
        self.made: dict[tuple[str, ...], tuple[int, float]] = {}

    def finish(self) -> None:
        """Make the links, then give the folders what they were noted with, the deepest first."""
        for path, target in self.links.items():
            folder, name = self._parent("/".join(path))
            _make_way(folder, name)
            os.symlink(target, name, dir_fd=folder)
        for parts, (mode, mtime) in sorted(self.made.items(), key=lambda each: -len(each[0])):
            self._enter(parts)
            os.utime(self._fd, (mtime, mtime))
            os.fchmod(self._fd, mode & 0o777)
            self._leave()

    def close(self) -> None:
        os.close(self._fd)
        os.close(self._top)

    def make_folder(self, path: str) -> None:
        self._enter(_parts(path))

    def note_folder(self, path: str, mode: int, mtime: float) -> None:
        self.made[_parts(path)] = (mode, mtime)

    def link(self, path: str, target: str) -> None:
        self.links[_parts(path)] = target

    def write(self, path: str, source: "BinaryIO", size: int, mode: int, mtime: float) -> None:
        """A file of exactly `size` bytes; one that is there already is replaced when the new one is whole."""
        self.links.pop(_parts(path), None)
        folder, name = self._parent(path)
        draft = f".{os.getpid()}.part"
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600,
                     dir_fd=folder)
        try:
            left = size
            while left:
                data = source.read(min(left, COPY_BYTES))
                if not data:
                    raise Wrong(f'"{path}": the stream ends {left} bytes too early')
                left -= len(data)
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
            os.fchmod(fd, mode & 0o777)
            os.utime(fd, (mtime, mtime))
            _make_way(folder, name)
            os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            os.unlink(draft, dir_fd=folder)
            raise
        finally:
            os.close(fd)

    def _parent(self, path: str) -> "tuple[int, str]":
        *above, name = _parts(path)
        self._enter(tuple(above))
        return self._fd, name

    def _enter(self, parts: "tuple[str, ...]") -> None:
        """Stand in this folder, made where it is not there."""
        if parts == self._parts:
            return
        fd = os.dup(self._top)
        try:
            for part in parts:
                try:
                    os.mkdir(part, 0o755, dir_fd=fd)
                except FileExistsError:
                    pass
                try:
                    inner = os.open(part, FOLDER, dir_fd=fd)
                except NotADirectoryError:
                    found = os.stat(part, dir_fd=fd, follow_symlinks=False)
                    what = "a link" if stat.S_ISLNK(found.st_mode) else "no folder"
                    raise Wrong(f'"{"/".join(parts)}": "{part}" is there and is {what}') from None
                os.close(fd)
                fd = inner
        except BaseException:
            os.close(fd)
            raise
        os.close(self._fd)
        self._fd, self._parts = fd, parts

    def _leave(self) -> None:
        """Stand at the top: what was just left may not be entered any more."""
        os.close(self._fd)
        self._fd, self._parts = os.dup(self._top), ()


def _parts(path: str) -> "tuple[str, ...]":
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if ".." in parts or "\0" in path:
        raise Wrong(f'"{path}" leads out of the folder it is unpacked in')
    return parts


def _make_way(folder: int, name: str) -> None:
    """Remove what has the name, unless it is a folder."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(found.st_mode):
        raise Wrong(f'"{name}" is a folder already, and a file is to be unpacked there')
    os.unlink(name, dir_fd=folder)


def unpack_file(source: "BinaryIO", folder: str, path: str, size: int) -> int:
    """One file of `size` bytes below the folder; raises Wrong."""
    below = Below(folder)
    try:
        below.write(path, source, size, 0o644, int(_now()))
    finally:
        below.close()
    return 1


def unpack_tar(
    source: "BinaryIO",
    folders: "dict[str, str]",
    into: str = "",
    wanted: "list[str] | None" = None,
    keep_links: bool = True,
    exactly: bool = False,
) -> int:
    """All members, or those below `wanted`, each below its folder; how many files. Raises Wrong."""
    places = {first: Below(folder) for first, folder in folders.items()}
    files = 0
    try:
        with tarfile.open(fileobj=source, mode="r|", bufsize=COPY_BYTES, ignore_zeros=exactly) as tar:
            while (member := tar.next()) is not None:
                files += _unpack(tar, member, places, into, wanted, keep_links, exactly)
                # It would remember every one of them.
                tar.members = []  # type: ignore[attr-defined]
        for place in places.values():
            place.finish()
    except tarfile.TarError as error:
        raise Wrong(f"the stream is no whole tar: {error}") from error
    finally:
        for place in places.values():
            place.close()
    return files


def _unpack(
    tar: tarfile.TarFile,
    member: tarfile.TarInfo,
    places: "dict[str, Below]",
    into: str,
    wanted: "list[str] | None",
    keep_links: bool,
    exactly: bool,
) -> int:
    parts = _parts(member.name)
    if member.name.startswith("/"):
        raise Wrong(f'"{member.name}" leads out of the folder it is unpacked in')
    if wanted is not None and not any(parts[: len(each)] == each for each in map(_parts, wanted)):
        return 0
    first, path = ("", member.name) if "" in places else (parts[0], "/".join(parts[1:]))
    place = places.get(first)
    if place is None:
        raise Wrong(f'"{member.name}" belongs to no folder that is known')
    path = f"{into}/{path}"
    if member.isdir():
        place.make_folder(path)
        if exactly:
            place.note_folder(path, member.mode, member.mtime)
        return 0
    if member.issym():
        if not keep_links and _leads_out(parts, member.linkname):
            raise Wrong(f'"{member.name}" is a link that leads out of the folder, to {member.linkname}')
        place.link(path, member.linkname)
        return 1
    content = tar.extractfile(member) if member.isreg() else None
    if content is None:
        raise Wrong(f'"{member.name}" is neither a file nor a folder nor a link')
    mtime = member.mtime if exactly else int(member.mtime)
    place.write(path, content, member.size, member.mode, mtime)  # type: ignore[arg-type]
    return 1


def _leads_out(parts: "tuple[str, ...]", target: str) -> bool:
    meant = os.path.normpath("/".join((*parts[:-1], target)))
    return target.startswith("/") or meant == ".." or meant.startswith("../")


def _now() -> float:
    import time

    return time.time()


def main() -> None:
    request = json.loads(sys.argv[1])
    source = os.fdopen(0, "rb", COPY_BYTES)
    folders, into = request["folders"], request["into"]
    if request["form"] == "file":
        files = unpack_file(source, folders[""], f"{into}/{request['filename']}", request["size"])
    else:
        files = unpack_tar(source, folders, into, request["wanted"], exactly=request["exactly"])
    sys.stdout.write(f"{files}\n")


if __name__ == "__main__":
    try:
        main()
    except Wrong as wrong:
        sys.exit(str(wrong))
    except OSError as error:
        sys.exit(f'"{error.filename}": {error.strerror}')
