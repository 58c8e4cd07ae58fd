"""Commands in a stage's room: what is asked for, how it ended, and what can be done with one that runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rivet.domain.secret import Opaque


@dataclass(frozen=True, slots=True)
class Process:
    """A command that ended in the stage's room, by itself or (`was_stopped`) because the script wished so.

    `tail` are the last lines it wrote, `hint` what may help whose command failed so (empty: nothing).
    """

    exit_code: int
    stdout: bytes
    stderr: bytes
    seconds: float
    tail: Sequence[str]
    hint: str = ""
    was_stopped: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """By which one of three a process in the background is known to be ready, within `timeout_s`."""

    timeout_s: float
    port: int | None = None
    log: str | None = None
    command: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Launch:
    """A command that is to run in the background."""

    argv: Sequence[str]
    env: Mapping[str, str | Opaque]
    cwd: str
    stdin: bytes | Opaque | None
    timeout_s: float | None
    capture: bool
    check: bool
    ready: Ready | None


class Background(Protocol):
    """Commands that run beside the script, by the number of their handle. All raise CallError."""

    def start(self, launch: Launch) -> int:
        """Start it and wait until it is ready; its number."""

    def launched(self, handle: int) -> Launch: ...

    def wait(self, handle: int, timeout_s: float | None) -> Process:
        """Wait for its end, at most that long: then it is an error, and goes on running."""

    def stop(self, handle: int) -> Process:
        """End it: TERM, after 10 s KILL. One that has ended stays as it is."""

    def is_running(self, handle: int) -> bool: ...
