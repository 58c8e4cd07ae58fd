"""A sandbox made by bubblewrap: a program is started anew in it.

Where the kernel does not let a room be forked (`built.py`), and what one that was forked is compared with.
"""

import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from rivet.sandbox.isolation.bubblewrap import find_bubblewrap
from rivet.sandbox.isolation.enclosure import END_WAIT_S, CannotEnclose, Complaints, KilledEarly
from rivet.sandbox.isolation.entry import STAGING, Entry, Staged
from rivet.sandbox.isolation.namespaces import (
    HOME,
    SHM_BYTES,
    TMP_BYTES,
    WORKSPACE,
    Enclosed,
    Enclosure,
)
from rivet.sandbox.isolation.system import ROOM_UID, is_of_the_system
from rivet.sandbox.seccomp import deny_list


def wrap(enclosure: Enclosure, argv: Sequence[str], keep: Sequence[int] = ()) -> Enclosed:
    """Start `argv` as pid 1 of a sandbox; it inherits the descriptors `keep` under their numbers.

    The sandbox dies with the calling thread. Standard input and output are /dev/null. Raises CannotEnclose,
    and NoBubblewrap.
    """
    bubblewrap = find_bubblewrap()
    place = _Placing(enclosure.uid is not None)
    executable = str(bubblewrap.executable)
    if enclosure.uid is not None:
        for name, folder in bubblewrap.package:
            place.staged.append(Staged(name, str(folder)))
        executable = bubblewrap.placed_at(STAGING)
    with contextlib.ExitStack() as stack:
        passed = _Passed(stack)
        arguments = _arguments(enclosure, place, passed)
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
        passed.close()
        said = _read_until_end(told, END_WAIT_S)
    if not said:
        outer.kill()
        outer.wait(END_WAIT_S)
        why = complaints.text()
        complaints.close()
        if not why:
            raise KilledEarly("bubblewrap was ended before the sandbox stood")
        raise CannotEnclose(f"bubblewrap ended before the sandbox stood: {why}")
    return Enclosed(_pid_1(said), complaints, outer)


def _pid_1(info: bytes) -> int:
    """Take hold of the sandbox's pid 1 by what bubblewrap wrote about it. Raises CannotEnclose."""
    try:
        return os.pidfd_open(int(json.loads(info)["child-pid"]))
    except ProcessLookupError as error:
        raise KilledEarly("the sandbox was ended as soon as it stood") from error
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise CannotEnclose(f"bubblewrap did not say whom it started: {error}") from error


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


def _arguments(enclosure: Enclosure, place: _Placing, passed: _Passed) -> list[str]:
    arguments = [
        "--unshare-user", "--disable-userns", "--unshare-ipc", "--unshare-pid", "--unshare-net",
        "--unshare-uts", "--unshare-cgroup-try", "--uid", str(ROOM_UID), "--gid", str(ROOM_UID),
        "--hostname", enclosure.hostname, "--die-with-parent", "--as-pid-1", "--new-session",
        "--perms", "0755", "--dir", "/etc", "--perms", "0755", "--dir", "/home",
        "--proc", "/proc", "--dev", "/dev",
        "--perms", "1777", "--size", str(SHM_BYTES), "--tmpfs", "/dev/shm", "--remount-ro", "/dev",  # noqa: S108
        "--perms", "1777", "--size", str(TMP_BYTES), "--tmpfs", "/tmp",  # noqa: S108
        "--dir", "/var", "--symlink", "/tmp", "/var/tmp",  # noqa: S108
    ]  # fmt: skip
    for path, content in enclosure.contents().items():
        arguments += ["--perms", "0444", "--file", str(passed.data(content)), path]
    for bind in enclosure.shown():
        if bind.is_link:
            arguments += ["--symlink", str(bind.source), bind.target]
        else:
            arguments += ["--bind" if bind.writable else "--ro-bind", place.of(bind.source), bind.target]
    arguments += [
        *(["--dir", HOME] if enclosure.home is None else []),
        "--remount-ro", "/", "--chdir", WORKSPACE, "--seccomp", str(passed.data(deny_list())),
    ]  # fmt: skip
    return arguments


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
