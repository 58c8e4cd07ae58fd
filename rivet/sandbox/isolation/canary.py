"""What the probe runs in a room: it tries to see and reach what must not be seen, and tells what it found.

Runs by itself (`python -I -S canary.py REQUEST`) and imports nothing of ours. REQUEST is JSON: `told` is
the descriptor to write to, `tcp`, `proxy` and `udp` are ports of the host's loopback, `abstract` and `socket`
Unix sockets there, `file` is a file and `open` a folder of the host that everybody may write to, `process` is
one of the host's, `workspace` the room's own. It writes a line `name value` a finding; what these should be
is for the probe to say.
"""

import ctypes
import json
import os
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

WAIT_S = 2.0
PR_GET_SECCOMP, PR_GET_NO_NEW_PRIVS = 21, 39
CAPABILITIES_VERSION = 0x20080522
IN_CREATE = 0x100

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    asked = json.loads(sys.argv[1])
    here, file, process = "127.0.0.1", asked["file"], asked["process"]
    findings = {
        "uid": os.getuid(),
        "pids": ",".join(sorted(name for name in _names("/proc") if name.isdigit())),
        "file_seen": _is_done(lambda: os.stat(file)),
        "file_read": _is_done(lambda: _read(file)),
        "mode_changed": _is_done(lambda: os.chmod(file, 0o644)),
        "watches": _is_done(lambda: _watch(asked["open"])),
        "network": _connects(socket.AF_INET, (here, asked["tcp"])),
        "proxy": _connects(socket.AF_INET, (here, asked["proxy"])),
        "abstract": _connects(socket.AF_UNIX, "\0" + asked["abstract"]),
        "socket": _connects(socket.AF_UNIX, asked["socket"]),
        "listens": _is_done(lambda: socket.create_server((here, 0)).close()),
        "datagrams": _is_done(lambda: _send(here, asked["udp"])),
        "raw": _is_done(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()),
        "interfaces": ",".join(_interfaces()),
        "signals": _is_done(lambda: os.kill(process, 0)),
        "environment": _is_done(lambda: _read(f"/proc/{process}/environ")),
        "limits": _is_done(lambda: _limits_of(process)),
        "variables": ",".join(sorted(os.environ)),
        "writes_system": _is_done(lambda: _write("/usr/canary")),
        "writes_outside": _is_done(lambda: _write(asked["open"] + "/canary")),
        "writes_workspace": _is_done(lambda: _write(asked["workspace"] + "/canary")),
        "no_new_privileges": _libc.prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0),
        "seccomp": _libc.prctl(PR_GET_SECCOMP, 0, 0, 0, 0),
        "capabilities": f"{_capabilities():x}",
    }
    report = "".join(f"{name} {value}\n" for name, value in findings.items())
    os.write(asked["told"], report.encode())


def _is_done(act: "Callable[[], Any]") -> bool:
    try:
        act()
    except OSError:
        return False
    return True


def _names(folder: str) -> "list[str]":
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _write(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))


def _watch(folder: str) -> None:
    fd = _libc.inotify_init1(os.O_CLOEXEC)
    if fd < 0 or _libc.inotify_add_watch(fd, folder.encode(), IN_CREATE) < 0:
        raise OSError(ctypes.get_errno(), "inotify")


def _connects(family: int, address: "Any") -> bool:
    def connect() -> None:
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(WAIT_S)
            connection.connect(address)

    return _is_done(connect)


def _send(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"canary", (host, port))


def _interfaces() -> "list[str]":
    try:
        lines = _read("/proc/net/dev").decode().splitlines()[2:]
    except OSError:
        return []
    return sorted(line.partition(":")[0].strip() for line in lines)


def _limits_of(process: int) -> None:
    """Another's limits, by the system call that could change them as well."""
    limits = ctypes.create_string_buffer(16)
    if _libc.prlimit(process, 7, None, limits) != 0:
        raise OSError(ctypes.get_errno(), "prlimit")


def _capabilities() -> int:
    """Those in effect, as one number."""
    head = (ctypes.c_uint32 * 2)(CAPABILITIES_VERSION, 0)
    told = (ctypes.c_uint32 * 6)()
    _libc.capget(head, told)
    return int(told[0]) | int(told[3]) << 32


if __name__ == "__main__":
    main()
