"""What the probe runs in a room: it tries to see and reach what must not be seen, and tells what it found.

Runs by itself (`python -I -S canary.py FD PORT FILE…`) and imports nothing of ours. It writes a line
`name value` a finding; what these should be is for the probe to say.
"""

import _socket
import posix
import sys


def main() -> None:
    told, port, files = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    findings = {
        "uid": posix.getuid(),
        "pids": ",".join(sorted(name for name in posix.listdir("/proc") if name.isdigit())),
        "files_seen": sum(1 for name in files if _exists(name)),
        "network": _connects(port),
        "interfaces": ",".join(_interfaces()),
        "variables": ",".join(sorted(name.decode() for name in posix.environ)),
        "writes_system": _writes("/usr/canary"),
        "writes_workspace": _writes("/workspace/canary"),
        **_status(),
    }
    report = "".join(f"{name} {value}\n" for name, value in findings.items())
    posix.write(told, report.encode())


def _exists(path: str) -> bool:
    try:
        posix.stat(path)
    except OSError:
        return False
    return True


def _connects(port: int) -> bool:
    connection = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    connection.settimeout(2.0)
    try:
        connection.connect(("127.0.0.1", port))
    except OSError:
        return False
    return True


def _interfaces() -> "list[str]":
    lines = _read("/proc/net/dev").splitlines()[2:]
    return sorted(line.partition(":")[0].strip() for line in lines)


def _writes(path: str) -> bool:
    try:
        posix.close(posix.open(path, posix.O_CREAT | posix.O_WRONLY))
    except OSError:
        return False
    return True


def _status() -> "dict[str, str]":
    wanted = {"NoNewPrivs": "no_new_privileges", "Seccomp": "seccomp", "CapEff": "capabilities"}
    pairs = (line.partition(":") for line in _read("/proc/self/status").splitlines())
    return {wanted[name]: value.strip() for name, _, value in pairs if name in wanted}


def _read(path: str) -> str:
    fd = posix.open(path, posix.O_RDONLY)
    content = b""
    while part := posix.read(fd, 65536):
        content += part
    posix.close(fd)
    return content.decode()


if __name__ == "__main__":
    main()
