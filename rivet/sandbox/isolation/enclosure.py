"""What all levels of isolation have in common: how a room is laid out, what it sees, why it cannot be had."""

import functools
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rivet.sandbox.isolation.bind import Bind
from rivet.sandbox.isolation.system import is_of_the_system

END_WAIT_S = 10.0
OPEN_FILES = 4096


class CannotEnclose(Exception):
    """A sandbox could not be started; the message says by which step and what was said about it."""


class KilledEarly(CannotEnclose):
    """A sandbox ended before it stood and did not say why, as what cannot be started always does."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a room's own things are, as its processes see them.

    `ours` holds our programs and small files and is read-only, `tmp` is for temporary files, `python` runs
    our programs.
    """

    workspace: str
    home: str
    ours: str
    tmp: str
    python: str


class Complaints:
    """What a sandbox says on its way down, kept in memory until it is asked for."""

    def __init__(self, name: str) -> None:
        self.fd = os.memfd_create(name, os.MFD_CLOEXEC)

    def text(self) -> str:
        """At most the last 2000 bytes."""
        size = os.fstat(self.fd).st_size
        return os.pread(self.fd, 2000, max(0, size - 2000)).decode(errors="replace").strip()

    def close(self) -> None:
        """Safe to call again."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Enclosed(Protocol):
    """A running sandbox. Everything in it ends with `end`, or with the thread that started it."""

    def kill(self) -> None:
        """Kill everything in the sandbox, without waiting; from any thread."""

    def end(self) -> bool:
        """Kill everything in the sandbox and wait until it is gone; whether it is. Safe to call again."""

    def complaints(self) -> str:
        """What the sandbox, or what came before it, said on its way down: at most the last 2000 bytes."""

    def release(self) -> None:
        """Let go of what is still held of it, once it has ended. Safe to call again."""


def interpreter() -> Path:
    """The Python that runs our own programs in a room: the real one, beneath any virtual environment."""
    return Path(getattr(sys, "_base_executable", "") or sys.executable).resolve()


@functools.cache
def interpreter_binds() -> tuple[Bind, ...]:
    """What a room must see for `interpreter()` to start: its executable and its standard library."""
    python = interpreter()
    library = Path(os.__file__).resolve().parent
    shared = sorted(library.parent.glob("libpython*.so*"))
    needed = [path for path in (python, library, *shared) if not is_of_the_system(path)]
    return tuple(Bind(path, str(path)) for path in needed)
