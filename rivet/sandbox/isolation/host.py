"""Levels `landlock` and `none`: a room made of the host's own processes, around an agent that ends them.

Nothing is mounted and nothing is renamed: what a room sees, it sees where it is. At `landlock` the kernel
refuses it everything else; at `none` nobody does.
"""

import contextlib
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeGuard

from rivet.sandbox.isolation.bind import Bind
from rivet.sandbox.isolation.enclosure import (
    END_WAIT_S,
    OPEN_FILES,
    CannotEnclose,
    Complaints,
    Layout,
    interpreter,
    interpreter_binds,
)
from rivet.sandbox.isolation.host_entry import HostEntry
from rivet.sandbox.isolation.landlock import NoLandlock, Rules, make_ruleset, outermost
from rivet.sandbox.isolation.system import DEVICES, system_paths
from rivet.sandbox.seccomp import deny_list_without_namespaces

HostLevel = Literal["landlock", "none"]
NOT_CAGED = "-"
_NOTHING_LEFT = (0, 1, -signal.SIGTERM)
"""How an agent ends that has nothing left, failed before it started anything, or was ended before that."""


def is_on_host(level: str) -> TypeGuard[HostLevel]:
    """Whether rooms of this level are made of the host's processes, with the host's names of files."""
    return level in ("landlock", "none")


@dataclass(frozen=True, slots=True)
class HostEnclosure:
    """What is in a room of the host's. `uid` is the user that its processes are, None for who started it.

    `binds` are seen where they are. `port` is that of the proxy on the host's loopback, None for no network.
    """

    level: HostLevel
    layout: Layout
    uid: int | None
    binds: tuple[Bind, ...] = ()
    port: int | None = None
    has_home: bool = True
    open_files: int = OPEN_FILES

    def rules(self) -> Rules:
        """What its processes may use, at level `landlock`."""
        layout = self.layout
        seen = [bind.source for bind in (*self.binds, *interpreter_binds()) if not bind.is_link]
        home = (Path(layout.home),) if self.has_home else ()
        return Rules(
            read=outermost([*system_paths(), *seen, Path(layout.ours)]),
            write=(Path(layout.workspace), Path(layout.tmp), *home),
            devices=DEVICES,
            port=self.port,
        )


def make_layout(workspace: Path, home: Path | None, uid: int | None, files: Mapping[str, bytes]) -> Layout:
    """Make a room's own folder beside its workspace: for `files` by their path in it, and for temporary ones.

    `remove_layout` takes it away. Raises CannotEnclose where the room's user cannot get there, OSError.
    """
    python = _python_for(uid)
    _check_reachable(workspace, uid, "RIVET_HOME is to be in a folder that every user may enter")
    made = Path(tempfile.mkdtemp(prefix="room-", dir=workspace.parent))
    for name in ("ours", "tmp", "home"):
        (made / name).mkdir(mode=0o700)
    for name, content in files.items():
        path = made / "ours" / name
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o440)
    if uid is not None:
        os.chown(made / "tmp", uid, uid)
        for folder, _, names in os.walk(made / "ours"):
            for name in (".", *names):
                os.chown(Path(folder, name), 0, uid)
        for name in ("ours", "home"):
            os.chown(made / name, 0, uid)
            (made / name).chmod(0o750)
        os.chown(made, 0, uid)
        made.chmod(0o750)
    at = Path(os.path.realpath(made))
    home_at = os.path.realpath(home) if home is not None else f"{at}/home"
    return Layout(os.path.realpath(workspace), home_at, str(at / "ours"), str(at / "tmp"), str(python))


def remove_layout(layout: Layout) -> None:
    """Take away what `make_layout` made, whatever was left in it."""
    folder = Path(layout.ours).parent
    with contextlib.suppress(FileNotFoundError):
        try:
            shutil.rmtree(folder)
        except (OSError, RecursionError):
            for command in (["chmod", "--recursive", "u+rwx"], ["rm", "-rf"]):
                subprocess.run(
                    [*command, "--", str(folder)], stdin=subprocess.DEVNULL, capture_output=True, check=False
                )


class OnHost:
    """A running agent, and what it started: all of that is its descendants, whatever they do."""

    def __init__(self, agent: subprocess.Popen[bytes], complaints: Complaints, uid: int | None) -> None:
        self._agent, self._complaints, self._uid = agent, complaints, uid
        self._pidfd = os.pidfd_open(agent.pid)
        self._ending = threading.Lock()

    def kill(self) -> None:
        """Have the agent kill everything, without waiting; from any thread."""
        with self._ending:
            if self._pidfd >= 0:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)

    def end(self) -> bool:
        """Kill everything in the room and wait until it is gone; whether it is. Safe to call again.

        The agent ends when nothing is left. One that cannot, or was killed otherwise than by us before it had
        started anything, leaves that to us: its descendants are killed from here, and all of the room's user
        if that is its own.
        """
        self.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self._agent.wait(END_WAIT_S) in _NOTHING_LEFT:
                return True
        left = _descendants(self._agent.pid)
        self._agent.kill()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._uid is not None:
            _kill_all_of(self._uid)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._agent.wait(END_WAIT_S)
        return self._uid is None or _is_gone(self._uid, END_WAIT_S)

    def complaints(self) -> str:
        return self._complaints.text()

    def release(self) -> None:
        with self._ending:
            if self._pidfd >= 0:
                os.close(self._pidfd)
                self._pidfd = -1
        self._complaints.close()


def enclose_on_host(enclosure: HostEnclosure, argv: Sequence[str], keep: Sequence[int] = ()) -> OnHost:
    """Start the agent of a room; it inherits the descriptors `keep` under their numbers.

    Its last argument is added: the descriptor of the ruleset that everything that it starts is to enter, or
    `-` at level `none`. It is asked to end when the calling thread ends. Raises CannotEnclose.
    """
    if enclosure.level == "none":
        return _start(enclosure, [*argv, NOT_CAGED], keep, None)
    rules = enclosure.rules()
    with contextlib.ExitStack() as stack:
        cage = _ruleset(rules, stack)
        # The agent itself has to see its room's processes, which they have no business with.
        own = _ruleset(replace(rules, read=(*rules.read, Path("/proc"))), stack)
        return _start(enclosure, [*argv, str(cage)], [*keep, cage], own)


def enclose_caged(enclosure: HostEnclosure, argv: Sequence[str], keep: Sequence[int] = ()) -> OnHost:
    """Start a program as an agent starts a command, shut in as far as its level goes. Raises CannotEnclose.

    It stands for itself: what it starts is not looked after.
    """
    with contextlib.ExitStack() as stack:
        cage = None if enclosure.level == "none" else _ruleset(enclosure.rules(), stack)
        return _start(enclosure, argv, keep, cage, is_agent=False)


def _ruleset(rules: Rules, stack: contextlib.ExitStack) -> int:
    try:
        ruleset = make_ruleset(rules)
    except (NoLandlock, OSError) as error:
        raise CannotEnclose(str(error)) from error
    stack.callback(os.close, ruleset)
    return ruleset


def _start(
    enclosure: HostEnclosure,
    argv: Sequence[str],
    keep: Sequence[int],
    ruleset: int | None,
    *,
    is_agent: bool = True,
) -> OnHost:
    program = None
    if enclosure.level == "landlock":
        program = deny_list_without_namespaces(network=enclosure.port is not None)
    complaints = Complaints("room-errors")
    try:
        agent = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=complaints.fd, env={},
            cwd=enclosure.layout.workspace, pass_fds=keep,
            preexec_fn=HostEntry(enclosure.uid, enclosure.open_files, ruleset, program),
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        said = complaints.text()
        complaints.close()
        raise CannotEnclose(f"the room's agent could not be started: {said or error}") from error
    return OnHost(agent, complaints, enclosure.uid if is_agent else None)


def _python_for(uid: int | None) -> Path:
    """Our own Python, or where the room's user cannot get to that one the system's of the same version."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    own = interpreter()
    for python in (own, Path("/usr/bin", name), Path("/usr/local/bin", name)):
        if python.exists() and closed_to(uid, python) is None:
            return python
    raise CannotEnclose(
        f"the user {uid} of a stage cannot get to {own}: {closed_to(uid, own)} is closed to others. "
        f"Run Rivet by a Python that every user may use, or install {name} in /usr"
    )


def _check_reachable(path: Path, uid: int | None, mend: str) -> None:
    closed = closed_to(uid, path)
    if closed is not None:
        raise CannotEnclose(
            f"the user {uid} of a stage cannot get to {path}: {closed} is closed to others. {mend}"
        )


def closed_to(uid: int | None, path: Path) -> Path | None:
    """The outermost folder on the way that a user (None: oneself) may not pass; None if there is none."""
    if uid is None:
        return None
    for folder in reversed(Path(os.path.realpath(path)).parents):
        known = folder.stat()
        bit = stat.S_IXUSR if known.st_uid == uid else stat.S_IXGRP if known.st_gid == uid else stat.S_IXOTH
        if not known.st_mode & bit:
            return folder
    return None


def _descendants(root: int) -> list[int]:
    """Processes that descend from one, as far as they can be found."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                parents[int(name)] = int(_status_of(name)[1])
    found: set[int] = set()
    grown = {root}
    while grown:
        grown = {pid for pid, parent in parents.items() if parent in grown and pid not in found}
        found |= grown
    return sorted(found)


def _kill_all_of(uid: int) -> None:
    """As that user, since such a signal goes to all of one's own and to nobody else."""
    subprocess.run(
        ["/bin/sh", "-c", "kill -KILL -1"], user=uid, group=uid, extra_groups=[], env={}, cwd="/",
        stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=END_WAIT_S,
    )  # fmt: skip


def _is_gone(uid: int, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while _has_processes(uid):
        if time.monotonic() > deadline:
            return False
        select.select([], [], [], 0.01)
    return True


def _has_processes(uid: int) -> bool:
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            is_theirs = name.isdigit() and os.stat(f"/proc/{name}").st_uid == uid
            if is_theirs and _status_of(name)[0] not in (b"Z", b"X"):
                return True
    return False


def _status_of(pid: str) -> list[bytes]:
    """State, parent and more, as the kernel tells them behind the program's name."""
    return Path("/proc", pid, "stat").read_bytes().rpartition(b")")[2].split()
