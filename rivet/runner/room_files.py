"""Files of the workspace, as the supervisor works with them: through the room's agent alone."""

import builtins
import errno
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rivet.runner.room import Room
from rivet.sandbox import files

MOST_READ = 8 * 1024 * 1024 - 4096
"""What fits into a script in one piece, in bytes."""
MOST_FOUND = 10_000
MOST_HASHED = 200_000
MOST_OUTPUT = 64 << 20

_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}


@dataclass(frozen=True, slots=True)
class Found:
    """What is at a path: `kind` is `file`, `folder`, `link` or `other`, `changed_at` seconds since 1970."""

    kind: str
    size: int
    mode: int
    changed_at: float
    target: str = ""


class RoomFiles:
    """Work with files in one room. Every method raises OSError as the agent tells it, and RoomLost.

    Paths are relative to the workspace. `stop` is asked while something takes long: with a reason all in
    the room is ended, and InterruptedError raised.
    """

    def __init__(self, room: Room, stop: Callable[[], str | None] = lambda: None) -> None:
        self._room, self._stop = room, stop

    def stat(self, path: str) -> Found | None:
        """None if nothing is there. A link at its end is not followed."""
        answer = self._room.ask("file", "stat", _raw(path))
        if answer.number == 0:
            return None
        size, changed, target = answer.payload.split(b" ", 2)
        mode = answer.number
        return Found(
            _KINDS.get(stat.S_IFMT(mode), "other"), int(size), stat.S_IMODE(mode), int(changed) / 1e9,
            _text(target),
        )  # fmt: skip

    def exists(self, path: str) -> bool:
        return self.stat(path) is not None

    def list(self, path: str) -> list[str]:
        """Names in a folder, in order; at most 10 000."""
        return _paths(self._room.ask("file", "names", _raw(path)).payload)

    def read(self, path: str) -> bytes:
        """At most 8 MiB."""
        return self._room.ask("file", "read", _raw(path), MOST_READ).payload

    def write(self, path: str, data: bytes, mode: int = 0o644, *, appends: bool = False) -> None:
        """At most 8 MiB."""
        if len(data) > MOST_READ:
            raise OSError(files.TOO_LARGE, "too large")
        self._room.ask("file", "write", _raw(path), data, mode, appends)

    def mkdir(self, path: str) -> None:
        self._room.ask("file", "mkdir", _raw(path))

    def move(self, source: str, target: str) -> None:
        try:
            self._room.ask("file", "move", _raw(source), _raw(target))
        except OSError as error:
            # The layer that a folder of an overlay came from cannot be renamed.
            if error.errno != errno.EXDEV:
                raise
            self.copy(source, target)
            self.remove(source)

    def copy(self, source: str, target: str) -> None:
        self._work("copy", _plain(source), _plain(target))

    def remove(self, path: str) -> bool:
        """Whether there was anything."""
        return self._work("remove", _plain(path)) == b"gone"

    def glob(self, patterns: Sequence[str]) -> "builtins.list[str]":
        """Paths that match, in order of their bytes; at most 10 000."""
        return _paths(self._work("glob", str(MOST_FOUND), *patterns))

    def digest(self, patterns: Sequence[str]) -> str | None:
        """One SHA-256 over the files that match, the same on every machine; None if none does."""
        return self._work("digest", str(MOST_HASHED), *patterns).decode("ascii", "replace") or None

    def _work(self, *arguments: str) -> bytes:
        said = {"stdout": bytearray(), "stderr": bytearray()}

        def take(stream: str, data: bytes) -> None:
            said[stream] += data
            if len(said[stream]) > MOST_OUTPUT:
                raise OSError(files.TOO_MANY, "too many")

        ended = self._room.work(arguments, on_output=take, stop=self._stop)
        if ended.ended_by is not None:
            raise InterruptedError(errno.EINTR, ended.reason)
        if ended.exit_code != 0:
            number, _, words = bytes(said["stderr"]).partition(b" ")
            raise OSError(int(number) if number.isdigit() else errno.EIO, _text(words) or "it was ended")
        return bytes(said["stdout"])


def _plain(path: str) -> str:
    """A path without parts that mean nothing."""
    return "/".join(part for part in path.split("/") if part not in ("", ".")) or "."


def _raw(path: str) -> bytes:
    return _plain(path).encode("utf-8", "surrogateescape")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _paths(raw: bytes) -> list[str]:
    return [_text(path) for path in raw.split(b"\0") if path]
