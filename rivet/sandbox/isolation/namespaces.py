"""Level `namespaces`: one bubblewrap sandbox with every namespace of its own, and one program as its pid 1.

Standing alone it knows no agent and no protocol: `enclose` starts a program shut in, and `Enclosed.end`
ends it with everything that it started.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from rivet.sandbox.isolation.bubblewrap import find_bubblewrap
from rivet.sandbox.isolation.enclosure import (
    END_WAIT_S,
    OPEN_FILES,
    Bind,
    CannotEnclose,
    Complaints,
    KilledEarly,
    Layout,
    interpreter,
    interpreter_binds,
)
from rivet.sandbox.isolation.entry import STAGING, Entry, Staged
from rivet.sandbox.isolation.system import (
    ROOM_UID,
    USER,
    is_of_the_system,
    system_arguments,
    system_files,
)
from rivet.sandbox.seccomp import deny_list

WORKSPACE = "/workspace"
HOME = f"/home/{USER}"
OURS = "/run/rivet"
LAYOUT = Layout(WORKSPACE, HOME, OURS, "/tmp", str(interpreter()))  # noqa: S108
TMP_BYTES = 2 << 30
SHM_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Enclosure:
    """What is in a sandbox. `uid` is the host's user that its processes are, None for who started it.

    `files` are small files of ours by their path in the room, `binds` what is seen of the host besides the
    system. Each process may have `open_files`. With `uid` the caller must be root.
    """

    workspace: Path
    home: Path | None
    uid: int | None
    binds: tuple[Bind, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    hostname: str = "stage"
    open_files: int = OPEN_FILES


class Enclosed:
    """A running sandbox: bubblewrap outside, `pid_1` inside it (a process id and descriptor of the host)."""

    def __init__(self, outer: subprocess.Popen[bytes], complaints: Complaints) -> None:
        self._outer = outer
        self._complaints = complaints
        self._pid_1: int | None = None
        self._ending = threading.Lock()

    def found_inside(self, info: bytes) -> None:
        """Take hold of the room's pid 1 from what bubblewrap wrote about it. Raises CannotEnclose."""
        try:
            self._pid_1 = os.pidfd_open(int(json.loads(info)["child-pid"]))
        except ProcessLookupError as error:
            raise KilledEarly("the sandbox was ended as soon as it stood") from error
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise CannotEnclose(f"bubblewrap did not say whom it started: {error}") from error

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
            gone = bool(_poll(self._pid_1, END_WAIT_S))
            with self._ending:
                os.close(self._pid_1)
                self._pid_1 = None
        with contextlib.suppress(ProcessLookupError):
            self._outer.kill()
        try:
            self._outer.wait(END_WAIT_S)
        except subprocess.TimeoutExpired:
            gone = False
        return gone

    def complaints(self) -> str:
        """What bubblewrap, or what came before it, said on its way down."""
        return self._complaints.text()

    def release(self) -> None:
        self._complaints.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self.release()


def enclose(enclosure: Enclosure, argv: Sequence[str], keep: Sequence[int] = ()) -> Enclosed:
    """Start `argv` as pid 1 of a sandbox; it inherits the descriptors `keep` under their numbers.

    The sandbox dies with the calling thread. Standard input and output are /dev/null. Raises CannotEnclose,
    and NoBubblewrap.
    """
    bubblewrap = find_bubblewrap()
    binds = [*enclosure.binds, *_missing(interpreter_binds(), enclosure.binds)]
    place = _Placing(enclosure.uid is not None)
    executable = str(bubblewrap.executable)
    if enclosure.uid is not None:
        for name, folder in bubblewrap.package:
            place.staged.append(Staged(name, str(folder)))
        executable = bubblewrap.placed_at(STAGING)
    with contextlib.ExitStack() as stack:
        passed = _Passed(stack)
        arguments = _arguments(enclosure, binds, place, passed)
        told, info = os.pipe2(os.O_CLOEXEC)
        stack.callback(os.close, told)
        arguments += ["--info-fd", str(passed.add(info))]
        arguments_fd = passed.data("\0".join(arguments).encode() + b"\0")
        complaints = Complaints("bubblewrap-errors")
        try:
            outer = subprocess.Popen(
                [executable, "--args", str(arguments_fd), "--", *argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=complaints.fd,
                env={},
                cwd="/",
                pass_fds=[*passed.fds, *keep],
                preexec_fn=Entry(enclosure.uid, place.staged, enclosure.open_files),
            )
        except (OSError, subprocess.SubprocessError) as error:
            complaints.close()
            raise CannotEnclose(f"bubblewrap could not be started ({executable}): {error}") from error
        enclosed = Enclosed(outer, complaints)
        passed.close()
        said = _read_until_end(told, END_WAIT_S)
    if not said:
        enclosed.end()
        why = enclosed.complaints()
        enclosed.release()
        if not why:
            raise KilledEarly("bubblewrap was ended before the sandbox stood")
        raise CannotEnclose(f"bubblewrap ended before the sandbox stood: {why}")
    enclosed.found_inside(said)
    return enclosed


class _Placing:
    """Where bubblewrap finds what it binds: as it is, or in the staging folder for another user to enter."""

    def __init__(self, moved: bool) -> None:
        self.moved = moved
        self.staged: list[Staged] = []

    def of(self, path: Path) -> str:
        if not self.moved or is_of_the_system(path):
            return str(path)
        name = str(len(self.staged))
        self.staged.append(Staged(name, str(path)))
        return f"{STAGING}/{name}"


class _Passed:
    """Descriptors that bubblewrap inherits; ours of them are closed once it has been started."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.fds: list[int] = []
        stack.callback(self.close)

    def add(self, fd: int) -> int:
        self.fds.append(fd)
        return fd

    def data(self, content: bytes) -> int:
        fd = self.add(os.memfd_create("rivet", os.MFD_CLOEXEC))
        os.pwrite(fd, content, 0)
        return fd

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)
        self.fds.clear()


def _arguments(enclosure: Enclosure, binds: Sequence[Bind], place: _Placing, passed: _Passed) -> list[str]:
    arguments = [
        "--unshare-user", "--disable-userns", "--unshare-ipc", "--unshare-pid", "--unshare-net",
        "--unshare-uts", "--unshare-cgroup-try", "--uid", str(ROOM_UID), "--gid", str(ROOM_UID),
        "--hostname", enclosure.hostname, "--die-with-parent", "--as-pid-1", "--new-session",
        *system_arguments(), "--perms", "0755", "--dir", "/etc", "--perms", "0755", "--dir", "/home",
        "--proc", "/proc", "--dev", "/dev",
        "--perms", "1777", "--size", str(SHM_BYTES), "--tmpfs", "/dev/shm", "--remount-ro", "/dev",  # noqa: S108
        "--perms", "1777", "--size", str(TMP_BYTES), "--tmpfs", "/tmp",  # noqa: S108
        "--dir", "/var", "--symlink", "/tmp", "/var/tmp",  # noqa: S108
    ]  # fmt: skip
    for path, content in {**system_files(enclosure.hostname), **enclosure.files}.items():
        arguments += ["--perms", "0444", "--file", str(passed.data(content)), path]
    # Outer folders first, so that what lies within them is not covered.
    for bind in sorted(binds, key=lambda each: each.target.count("/")):
        if bind.is_link:
            arguments += ["--symlink", str(bind.source), bind.target]
        else:
            arguments += ["--bind" if bind.writable else "--ro-bind", place.of(bind.source), bind.target]
    arguments += [
        *(["--bind", place.of(enclosure.home), HOME] if enclosure.home else ["--dir", HOME]),
        "--bind", place.of(enclosure.workspace), WORKSPACE,
        "--remount-ro", "/", "--chdir", WORKSPACE, "--seccomp", str(passed.data(deny_list())),
    ]  # fmt: skip
    return arguments


def _missing(wanted: Sequence[Bind], present: Sequence[Bind]) -> list[Bind]:
    """Those binds that no present one shows already."""
    shown = [Path(bind.target) for bind in present if not bind.is_link]
    return [bind for bind in wanted if not any(Path(bind.target).is_relative_to(path) for path in shown)]


def _read_until_end(fd: int, within_s: float) -> bytes:
    deadline = time.monotonic() + within_s
    said = b""
    while (left := deadline - time.monotonic()) > 0 and _poll(fd, left):
        part = os.read(fd, 4096)
        if not part:
            break
        said += part
        if said.rstrip().endswith(b"}"):
            break
    return said


def _poll(fd: int, within_s: float) -> list[tuple[int, int]]:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return poll.poll(within_s * 1000)
