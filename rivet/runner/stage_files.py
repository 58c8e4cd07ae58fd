"""Files for a stage's calls: what the room's agent says about them, in words for whoever wrote the script."""

import builtins
import errno
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from rivet.modules.contract import CallError
from rivet.runner.room_command import CannotStart
from rivet.runner.room_files import MOST_FOUND, MOST_READ, Found, RoomFiles
from rivet.sandbox import files

T = TypeVar("T")

_OF_WRITING = "the folder of {path} is not there; fs.mkdir makes it"
_WORDS: Mapping[int, str] = {
    errno.ENOENT: "there is nothing at {path} in the workspace",
    errno.EEXIST: "there is something at {path} already; fs.remove takes it away",
    errno.ENOTDIR: "{path} is no folder, or lies beneath something that is none",
    errno.EISDIR: "{path} is a folder; expected a file",
    errno.EACCES: "{path} is not the stage's user's to work on in this way",
    errno.EPERM: "{path} is not the stage's user's to work on in this way",
    errno.ELOOP: "{path} is a link where none may be, or leads in a circle",
    errno.EINVAL: "{path} cannot be brought to a place within itself",
    errno.ENOSPC: "the disk has no room left for {path}",
    errno.EMFILE: "{path} lies, or holds something that lies, in too many folders",
    files.OUTSIDE: "{path} leads out of the workspace by a link",
    files.TOO_MANY: f"{{path}}: there are more than {MOST_FOUND} entries, or too deep ones; ask for fewer",
    files.TOO_LARGE: f"{{path}} is over {MOST_READ} bytes, the most that a script takes; "
    "a command of process.run can work on it",
    files.NO_FILE: "{path} is neither a file, nor a folder, nor a link",
    files.ITSELF: "{path} would have to hold itself, or is given twice",
}


class StageFiles:
    """The contract's `Files`. `go_on` raises where the stage is to stop; `title` is the call's.

    What is read passes `mask`.
    """

    def __init__(
        self, room_files: RoomFiles, title: str, go_on: Callable[[], None], mask: Callable[[bytes], bytes]
    ) -> None:
        self._files, self._title, self._go_on, self._mask = room_files, title, go_on, mask

    def stat(self, path: str) -> Found | None:
        return self._told(path, lambda: self._files.stat(path))

    def list(self, path: str) -> list[str]:
        return self._told(path, lambda: self._files.list(path))

    def read(self, path: str) -> bytes:
        return self._mask(self._told(path, lambda: self._files.read(path)))

    def write(self, path: str, data: bytes, *, appends: bool = False) -> None:
        self._told(path, lambda: self._files.write(path, data, appends=appends), writes=True)

    def mkdir(self, path: str) -> None:
        self._told(path, lambda: self._files.mkdir(path))

    def move(self, source: str, target: str) -> None:
        self._told(f"{source} to {target}", lambda: self._files.move(source, target))

    def copy(self, source: str, target: str) -> None:
        self._told(f"{source} to {target}", lambda: self._files.copy(source, target))

    def remove(self, path: str) -> bool:
        return self._told(path, lambda: self._files.remove(path))

    def glob(self, patterns: Sequence[str]) -> "builtins.list[str]":
        return self._told(", ".join(patterns), lambda: self._files.glob(patterns))

    def digest(self, patterns: Sequence[str]) -> str | None:
        return self._told(", ".join(patterns), lambda: self._files.digest(patterns))

    def _told(self, path: str, work: Callable[[], T], *, writes: bool = False) -> T:
        self._go_on()
        try:
            return work()
        except InterruptedError:
            self._go_on()
            raise CallError(f"{self._title}: was stopped") from None
        except CannotStart as error:
            raise CallError(f"{self._title}: {error}") from None
        except OSError as error:
            words = _OF_WRITING if writes and error.errno == errno.ENOENT else _words_of(error)
            raise CallError(f"{self._title}: " + words.replace("{path}", _quoted(path))) from None


def _quoted(path: str) -> str:
    return f'"{path}"' if len(path) <= 200 else f'"{path[:197]}..."'


def _words_of(error: OSError) -> str:
    number = error.errno or 0
    known = _WORDS.get(number)
    return known or "{path}: " + (os.strerror(number) if 0 < number < files.OUTSIDE else str(error.strerror))
