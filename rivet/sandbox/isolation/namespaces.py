"""Level `namespaces`: a sandbox with every namespace of its own, and one program as its pid 1.

What it is made of, and how it ends with everything that is in it; `enclose.py` starts one.
"""

import contextlib
import functools
import os
import select
import signal
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from rivet.sandbox.isolation.bind import Bind
from rivet.sandbox.isolation.enclosure import (
    END_WAIT_S,
    OPEN_FILES,
    Complaints,
    Layout,
    interpreter,
    interpreter_binds,
)
from rivet.sandbox.isolation.system import USER, system_binds, system_files

WORKSPACE = "/workspace"
HOME = f"/home/{USER}"
OURS = "/run/rivet"
LAYOUT = Layout(WORKSPACE, HOME, OURS, "/tmp", str(interpreter()))  # noqa: S108
TMP_BYTES = 2 << 30
SHM_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Enclosure:
    """What is in a sandbox. `uid` is the host's user that its processes are, None for who started it.

    `files` are small files of ours by their path in the room, `programs` those that are alike in all rooms,
    `binds` what is seen of the host besides the system. Each process may have `open_files`. With `uid` the
    caller must be root.
    """

    workspace: Path
    home: Path | None
    uid: int | None
    binds: tuple[Bind, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    programs: Mapping[str, bytes] = field(default_factory=dict)
    hostname: str = "stage"
    open_files: int = OPEN_FILES

    def shown(self) -> list[Bind]:
        """All that is seen of the host, outer folders first, so that what lies within them is not covered."""
        return [
            *system_binds(),
            *_with_interpreter(self.binds),
            *([Bind(self.home, HOME, writable=True)] if self.home is not None else []),
            Bind(self.workspace, WORKSPACE, writable=True),
        ]

    def common(self) -> Mapping[str, bytes]:
        """Those files that are the same in all rooms of this machine, by their path in it."""
        return {**system_files(self.hostname), **self.programs}

    def contents(self) -> Mapping[str, bytes]:
        """All files that are its own."""
        return {**self.common(), **self.files}


class Enclosed:
    """A running sandbox, by a descriptor of its pid 1; `outer` is a process around it, if it has one."""

    def __init__(
        self, pid_1: int | None, complaints: Complaints, outer: subprocess.Popen[bytes] | None = None
    ) -> None:
        self._pid_1 = pid_1
        self._outer = outer
        self._complaints = complaints
        self._ending = threading.Lock()

    def kill(self) -> None:
        """Kill everything in the sandbox, without waiting; from any thread."""
        with self._ending:
            if self._pid_1 is not None:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pid_1, signal.SIGKILL)

    def end(self) -> bool:
        """Kill everything in the sandbox and wait until it is gone; whether it is. Safe to call again."""
        self.kill()
        gone = True
        if self._pid_1 is not None:
            # Readable once pid 1 has ended, which the kernel lets happen after all others of the namespace.
            gone = has_ended(self._pid_1, END_WAIT_S)
            with self._ending:
                os.close(self._pid_1)
                self._pid_1 = None
        if self._outer is not None:
            with contextlib.suppress(ProcessLookupError):
                self._outer.kill()
            try:
                self._outer.wait(END_WAIT_S)
            except subprocess.TimeoutExpired:
                gone = False
        return gone

    def complaints(self) -> str:
        """What the sandbox, or what came before it, said on its way down."""
        return self._complaints.text()

    def release(self) -> None:
        self._complaints.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self.release()


def has_ended(process: int, within_s: float) -> bool:
    """Whether the process of a descriptor ends within this time."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(within_s * 1000))


@functools.lru_cache(maxsize=16)
def _with_interpreter(binds: tuple[Bind, ...]) -> tuple[Bind, ...]:
    """Outer ones first, and with what our own programs need, unless it is shown already."""
    shown = [Path(bind.target) for bind in binds if not bind.is_link]
    needed = [
        bind
        for bind in interpreter_binds()
        if not any(Path(bind.target).is_relative_to(path) for path in shown)
    ]
    return tuple(sorted([*binds, *needed], key=lambda each: each.target.count("/")))
