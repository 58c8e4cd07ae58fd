"""Files out of a stage's room as a blob, and back into it: a program of ours in the room packs and unpacks.

The supervisor sees a stream through a pipe and never opens a path of the workspace. What comes out of the
room is believed no more than what its user wrote.
"""

import functools
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import rivet.sandbox
from rivet.domain.artifact import Contents
from rivet.domain.blob import Manifest, shown_size
from rivet.domain.errors import InvalidInput
from rivet.modules.contract import CallError
from rivet.runner.blobs import BlobLink, Progress, Upload
from rivet.runner.room_command import Ended, Output
from rivet.sandbox.isolation.enclosure import Layout

MOST_HEADER = 16 * 1024
MOST_COMPLAINT = 4096
MOST_LISTED = 2 * 1024 * 1024
_LIBRARY = "import sys; sys.path.insert(0, sys.argv.pop(1))\n"
WORKSPACE, HOME = "workspace", "stage"
"""The folders of a room by the names that they have in archives, wherever they are."""


class Bench(Protocol):
    """What is needed of the stage."""

    def run_program(self, argv: Sequence[str], *, on_output: Output, stdin: int | None = None) -> Ended:
        """Run a program of ours in the room to its end; `stdin` stays the caller's.

        Raises what ends the stage where that is to stop.
        """

    def say(self, level: str, text: str) -> None: ...

    @property
    def layout(self) -> Layout:
        """Where things are in the room."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to pack. `places` are globs by WORKSPACE or HOME; a single file goes as it is with `one_file`.

    `name` is what the thing is called in messages, `filename` what a tar of it is called. `exactly` is for a
    whole workspace: it may be empty, and folders and times come back as they were.
    """

    name: str
    filename: str
    places: Mapping[str, Sequence[str]]
    one_file: bool
    keep_links: bool
    exactly: bool = False


def pack(bench: Bench, link: BlobLink, title: str, wanted: Wanted, most_bytes: int) -> Contents:
    """Everything wanted, sent. Raises CallError naming what cannot be packed, or is too large."""
    return _pack(bench, link, title, wanted, most_bytes, lists=False)[0]


def pack_and_list(
    bench: Bench, link: BlobLink, title: str, wanted: Wanted, most_bytes: int
) -> tuple[Contents, dict[str, str]]:
    """As `pack`, with the digest of each file's content by its path; too many are a CallError."""
    contents, listed = _pack(bench, link, title, wanted, most_bytes, lists=True)
    if len(listed) >= MOST_LISTED:
        raise CallError(f"{title}: {contents.files} files are too many; one archive of them can be handed on")
    return contents, _read_list(listed, title)


def _pack(
    bench: Bench, link: BlobLink, title: str, wanted: Wanted, most_bytes: int, *, lists: bool
) -> tuple[Contents, bytes]:
    taken = _Taken(bench, link, f"{title}: {wanted.name}", most_bytes, lists=lists)
    request = {
        "places": [(name, _folder(bench, name), globs) for name, globs in wanted.places.items()],
        "one_file": wanted.one_file,
        "keep_links": wanted.keep_links,
        "exactly": wanted.exactly,
        "lists": lists,
    }
    ended = bench.run_program(_program(bench.layout, "pack", request), on_output=taken.take)
    if ended.exit_code != 0:
        raise CallError(f"{title}: path: {taken.complaint()}")
    contents = taken.contents(wanted.filename)
    if left_out := taken.header.get("left_out"):
        bench.say("warn", f"{title}: {left_out} sockets, pipes or devices were left out")
    return contents, bytes(taken.err)


def _read_list(listed: bytes, title: str) -> dict[str, str]:
    try:
        told = dict(json.loads(line) for line in listed.splitlines())
    except (ValueError, TypeError):
        told = {0: None}
    if not all(isinstance(each, str) for pair in told.items() for each in pair):
        raise CallError(f"{title}: the program in the stage's room was disturbed")
    return told


def unpack(
    bench: Bench,
    link: BlobLink,
    title: str,
    contents: Contents,
    folders: Mapping[str, str],
    *,
    into: str = "",
    wanted: Sequence[str] | None = None,
) -> int:
    """Into `folders` (WORKSPACE or HOME), by the first part of each name; how many files. Raises CallError.

    `into` is a path below them; one that is a link is not followed.
    """
    request = {
        "form": contents.form,
        "filename": contents.filename,
        "size": contents.blob.size,
        "folders": dict(folders),
        "into": into,
        "wanted": None if wanted is None else list(wanted),
        "exactly": False,
    }
    return _unpack(bench, link, title, [contents.blob], request)


def unpack_workspace(bench: Bench, link: BlobLink, title: str, all_of: Sequence[Contents]) -> int:
    """Into the workspace, one after another, each packed from one; how many files. Raises CallError."""
    if any(contents.form != "tar" for contents in all_of):
        raise CallError(f"{title}: what is stored is no part of a workspace")
    request = {"form": "tar", "folders": {WORKSPACE: WORKSPACE}, "into": "", "wanted": None, "exactly": True}
    return _unpack(bench, link, title, [contents.blob for contents in all_of], request)


def _unpack(
    bench: Bench, link: BlobLink, title: str, blobs: Sequence[Manifest], request: Mapping[str, Any]
) -> int:
    progress = Progress(title, bench.say, sum(blob.size for blob in blobs))
    return _run_unpack(bench, title, _contents(link, blobs, progress), request)


def unpack_stream(bench: Bench, title: str, tar: Iterable[bytes]) -> int:
    """A tar that comes from elsewhere, into the workspace; how many files. Raises CallError."""
    request = {"form": "tar", "folders": {"": WORKSPACE}, "into": "", "wanted": None, "exactly": False}
    return _run_unpack(bench, title, tar, request)


def _contents(link: BlobLink, blobs: Iterable[Manifest], progress: Progress) -> Iterator[bytes]:
    for blob in blobs:
        for content in link.pieces(blob):
            yield content
            progress.by(len(content))


def _run_unpack(bench: Bench, title: str, stream: Iterable[bytes], request: Mapping[str, Any]) -> int:
    said = _Said()
    folders = {first: _folder(bench, name) for first, name in request["folders"].items()}
    program = _program(bench.layout, "unpack", {**request, "folders": folders})
    feeder = _Feeder(stream)
    ended = feeder.while_running(
        lambda stdin: bench.run_program(program, on_output=said.take, stdin=stdin)
    )
    if ended.exit_code != 0:
        raise CallError(f"{title}: {said.complaint()}")
    files = said.out.strip()
    return int(files) if files.isdigit() and len(files) < 10 else 0


def split_by_place(paths: Sequence[str]) -> dict[str, list[str]]:
    """Paths by the folder that they lie in, WORKSPACE or HOME: `~/` is the stage's HOME."""
    places: dict[str, list[str]] = {}
    for path in paths:
        folder, inner = (HOME, path[2:] or ".") if path.startswith("~/") else (WORKSPACE, path)
        places.setdefault(folder, []).append(inner)
    return places


class _Said:
    """What a program of ours wrote, bounded; `lists`: it says more on standard error than what goes wrong."""

    def __init__(self, *, lists: bool = False) -> None:
        self.out = bytearray()
        self.err = bytearray()
        self._most = {"stdout": MOST_HEADER, "stderr": MOST_LISTED if lists else MOST_HEADER}

    def take(self, stream: str, data: bytes) -> None:
        kept = self.out if stream == "stdout" else self.err
        kept += data[: self._most[stream] - len(kept)]

    def complaint(self) -> str:
        lines = self.err.decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:MOST_COMPLAINT] if lines else "the program in the stage's room was ended"


class _Taken(_Said):
    """The stream of the packer: a line that says what follows, then what is uploaded."""

    def __init__(
        self, bench: Bench, link: BlobLink, title: str, most_bytes: int, *, lists: bool
    ) -> None:
        super().__init__(lists=lists)
        self._bench, self._link, self._title, self._most_bytes = bench, link, title, most_bytes
        self._upload: Upload | None = None
        self.header: Mapping[str, Any] = {}

    def take(self, stream: str, data: bytes) -> None:
        if stream != "stdout":
            super().take(stream, data)
        elif self._upload is not None:
            self._upload.feed(data)
        else:
            self.out += data
            if b"\n" in self.out:
                self._begin()
            elif len(self.out) > MOST_HEADER:
                raise CallError(f"{self._title}: the program in the stage's room speaks of something else")

    def _begin(self) -> None:
        head, _, rest = bytes(self.out).partition(b"\n")
        try:
            self.header = json.loads(head)
            size = int(self.header["size"])
        except (ValueError, KeyError, TypeError):
            raise CallError(f"{self._title}: the program in the stage's room was disturbed") from None
        most = shown_size(self._most_bytes)
        too_large = f"{self._title}: has {shown_size(size)}, the operator allows {most}"
        if size > self._most_bytes:
            raise CallError(too_large)
        progress = Progress(self._title, self._bench.say, size)
        self._upload = Upload(self._link, progress, self._most_bytes, too_large)
        if rest:
            self._upload.feed(rest)

    def contents(self, filename: str) -> Contents:
        if self._upload is None:
            raise CallError(f"{self._title}: {self.complaint()}")
        told = {**self.header, "blob": self._upload.finish().as_dict()}
        if told.get("form") == "tar":
            told["filename"] = filename
        try:
            return Contents.read(told)
        except InvalidInput as error:
            raise CallError(f"{self._title}: {error.message}") from None


class _Feeder:
    """Writes a stream into a pipe from a thread of its own, while the program in the room reads it."""

    def __init__(self, stream: Iterable[bytes]) -> None:
        self._stream = stream
        self._error: BaseException | None = None

    def while_running(self, run: Callable[[int], Ended]) -> Ended:
        """How `run` ended, which was given the pipe. Raises what went wrong with the stream before that."""
        read, write = os.pipe2(os.O_CLOEXEC)
        thread = threading.Thread(target=self._feed, args=(write,), name="blob-feeder", daemon=True)
        thread.start()
        try:
            ended = run(read)
        finally:
            # The pipe has no reader any more: a write into it ends now, and a fetch at its next look.
            os.close(read)
            thread.join()
        if self._error is not None:
            raise self._error
        return ended

    def _feed(self, write: int) -> None:
        try:
            for content in self._stream:
                view = memoryview(content)
                while view:
                    view = view[os.write(write, view) :]
        except BrokenPipeError:
            # Whoever read has ended, and its exit code says why.
            pass
        except BaseException as error:  # noqa: BLE001 - raised where the caller is
            self._error = error
        finally:
            os.close(write)


@functools.cache
def _source(name: str) -> str:
    return _LIBRARY + Path(rivet.sandbox.__file__).with_name(f"{name}.py").read_text()


def _program(layout: Layout, name: str, request: Mapping[str, Any]) -> list[str]:
    flags = ["-I", "-S", "-X", "utf8", "-c"]
    return [layout.python, *flags, _source(name), f"{layout.ours}/lib", json.dumps(request)]


def _folder(bench: Bench, name: str) -> str:
    return bench.layout.home if name == HOME else bench.layout.workspace
