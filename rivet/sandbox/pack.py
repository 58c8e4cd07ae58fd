"""Runs in a room: finds files of the workspace and writes them to standard output, as they are or as a tar.

Runs by itself (`python -I -S -c … REQUEST`) and imports nothing of ours but its neighbours for files. REQUEST
is JSON: `places` are `[name, folder, globs]` with a folder of the room and what it is called, `one_file`
allows a single plain file to be sent as its bytes, `keep_links` keeps links that lead out of their folder.
`exactly` is for whole workspaces: times are told to the fraction of a second, and there may be no file at
all. With `lists` the digest of each file's content is written to standard error, a line of JSON each.

First comes a line of JSON that says what follows: `form`, `filename`, `root`, `files`, `size` (of the files'
contents) and `left_out` (sockets and the like). What goes wrong is the last line on standard error.
"""

import hashlib
import io
import json
import os
import stat
import sys
import tarfile

from rivet.sandbox.file_search import Search
from rivet.sandbox.files import TOO_MANY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Found = tuple[str, str, os.stat_result]

MOST_FILES = 1_000_000
MAGIC = "*?["
COPY_BYTES = 1 << 20


class Wrong(Exception):
    """The files cannot be packed; the message says why."""


class Place:
    """One folder of the room, and what of it is wanted. The spelled-out part of a glob may go over links."""

    def __init__(self, folder: str, globs: "list[str]", keep_links: bool) -> None:
        self.folder = folder
        self._keep_links = keep_links
        self._globs = [(glob, *self._real(*_split(os.path.normpath(glob)))) for glob in globs]
        self.left_out = 0

    def root(self) -> str:
        """The deepest folder that everything named lies in, as far as it is spelled out."""
        heads = {
            head if rest or os.path.isdir(os.path.join(self.folder, head)) else os.path.dirname(head)
            for _, head, rest in self._globs
        }
        common = os.path.commonpath(sorted(heads)) if len(heads) > 1 else heads.pop()
        return "" if common == "." else common

    def find(self) -> "Iterator[Found]":
        """Path below the folder, the same as it is opened, and what is known of it: each file once."""
        seen: set[str] = set()
        for glob, head, rest in self._globs:
            matching = self._matching("/".join((head, *rest)))
            if not matching:
                raise Wrong(f'"{glob}" matches nothing')
            for path in matching:
                for found in self._below(path):
                    if found[0] not in seen:
                        seen.add(found[0])
                        yield found

    def _matching(self, glob: str) -> "list[str]":
        if glob == ".":
            return ["."]
        search = Search(MOST_FILES)
        fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            search.find(fd, os.fsencode(glob))
        except OSError as error:
            if error.errno != TOO_MANY:
                raise
            raise Wrong(f'"{glob}" matches more than {MOST_FILES} files') from None
        finally:
            os.close(fd)
        return [os.fsdecode(path) for path in sorted(search.found)]

    def _below(self, path: str) -> "Iterator[Found]":
        whole = os.path.join(self.folder, path)
        known = os.lstat(whole)
        if stat.S_ISDIR(known.st_mode):
            if path != ".":
                yield path, whole, known
            for name in sorted(os.listdir(whole)):
                yield from self._below(name if path == "." else os.path.join(path, name))
        elif stat.S_ISREG(known.st_mode):
            yield path, whole, known
        elif stat.S_ISLNK(known.st_mode):
            if not self._keep_links:
                self._check_inside(path)
            yield path, whole, known
        else:
            self.left_out += 1

    def _real(self, head: str, rest: "list[str]") -> "tuple[str, list[str]]":
        return os.path.relpath(self._check_inside(head), self.folder), rest

    def _check_inside(self, path: str) -> str:
        """Where it is, links followed."""
        real = os.path.realpath(os.path.join(self.folder, path))
        if real != self.folder and not real.startswith(self.folder + "/"):
            raise Wrong(f'"{path}" leads out of the workspace by a link, to {real}')
        return real


def _split(glob: str) -> "tuple[str, list[str]]":
    """What is spelled out, and the rest from the first part that is not."""
    parts = glob.split("/")
    plain = 0
    while plain < len(parts) and not any(sign in parts[plain] for sign in MAGIC):
        plain += 1
    return "/".join(parts[:plain]) or ".", parts[plain:]


class Exactly(io.RawIOBase):
    """Reads a file as long as it was when it was found; one that has shrunk meanwhile is an error."""

    def __init__(self, path: str, size: int, digests: bool = False) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._path, self._left = path, size
        self.digest = hashlib.sha256() if digests else None

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data = os.read(self._fd, wanted) if wanted else b""
        if wanted and not data:
            raise Wrong(f'"{self._path}" became shorter while it was read')
        self._left -= len(data)
        if self.digest is not None:
            self.digest.update(data)
        # tarfile takes a short read for the end.
        return data + self.read(wanted - len(data)) if len(data) < wanted else data

    def close(self) -> None:
        if not self.closed:
            os.close(self._fd)
        super().close()


def send_file(found: "Found", out: "io.RawIOBase") -> None:
    with Exactly(found[1], found[2].st_size) as file:
        while data := file.read(COPY_BYTES):
            _write(out, data)


def _write(out: "io.RawIOBase", data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[out.write(view) or 0 :]


def send_tar(
    found: "list[tuple[str, Found]]", out: "io.RawIOBase", exactly: bool = False, lists: bool = False
) -> None:
    form = tarfile.PAX_FORMAT if exactly else tarfile.GNU_FORMAT
    with tarfile.open(fileobj=out, mode="w|", format=form, bufsize=COPY_BYTES) as tar:
        for name, (path, whole, known) in found:
            member = tarfile.TarInfo(name)
            member.mode, member.mtime = stat.S_IMODE(known.st_mode), int(known.st_mtime)
            if exactly:
                member.mtime = known.st_mtime
            digest = ""
            if stat.S_ISREG(known.st_mode):
                member.size = known.st_size
                with Exactly(whole, known.st_size, lists) as file:
                    tar.addfile(member, file)
                    digest = file.digest.hexdigest() if file.digest is not None else ""
            elif stat.S_ISLNK(known.st_mode):
                member.type, member.linkname = tarfile.SYMTYPE, os.readlink(whole)
                tar.addfile(member)
                digest = "-> " + hashlib.sha256(os.fsencode(member.linkname)).hexdigest()
            else:
                member.type = tarfile.DIRTYPE
                tar.addfile(member)
            if lists and digest:
                # A name that is no text is told in a way that can be stored.
                told = os.fsencode(path).decode("utf-8", "backslashreplace")
                sys.stderr.write(json.dumps([told, digest]) + "\n")
            # It would remember every one of them.
            tar.members = []  # type: ignore[attr-defined]


def main() -> None:
    request = json.loads(sys.argv[1])
    out = io.FileIO(1, "wb", closefd=False)
    keep_links = request["keep_links"]
    places = [(name, Place(folder, globs, keep_links)) for name, folder, globs in request["places"]]
    found: list[tuple[str, Found]] = []
    root = places[0][1].root() if len(places) == 1 and request["one_file"] else ""
    for called, place in places:
        prefix = "" if request["one_file"] else f"{called}/"
        for each in place.find():
            name = os.path.relpath(each[0], root or ".")
            if name != ".":
                found.append((prefix + name, each))
    files = [each for each in found if not stat.S_ISDIR(each[1][2].st_mode)]
    if not files and not request["exactly"]:
        raise Wrong("what is named holds no file")
    alone = files[0][1] if len(found) == 1 and request["one_file"] else None
    is_file = alone is not None and stat.S_ISREG(alone[2].st_mode)
    told = {
        "form": "file" if is_file else "tar",
        "filename": os.path.basename(files[0][0]) if is_file else "",
        "root": root,
        "files": len(files),
        "size": sum(known.st_size for _, (_, _, known) in files if stat.S_ISREG(known.st_mode)),
        "left_out": sum(place.left_out for _, place in places),
    }
    _write(out, json.dumps(told).encode() + b"\n")
    if is_file and alone is not None:
        send_file(alone, out)
    else:
        send_tar(found, out, request["exactly"], request["lists"])


if __name__ == "__main__":
    sys.setrecursionlimit(10_000)
    try:
        main()
    except Wrong as wrong:
        sys.exit(str(wrong))
    except BrokenPipeError:
        os._exit(1)
    except OSError as error:
        sys.exit(f'"{error.filename}": {error.strerror}')
