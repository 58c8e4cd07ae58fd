"""Whose connection it is that comes to a proxy on the host's loopback, where everybody could make one."""

import sys
from pathlib import Path

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LOCAL, _REMOTE, _USER = 1, 2, 7


def user_of(peer: tuple[str, int], listener: tuple[str, int]) -> int | None:
    """The user whose socket is at the other end of a connection of IPv4; None where it is not found."""
    wanted = _in_table(peer), _in_table(listener)
    for table in _TABLES:
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            # An address of IPv6 that stands for one of IPv4 ends with that.
            if (fields[_LOCAL][-13:], fields[_REMOTE][-13:]) == wanted:
                return int(fields[_USER])
    return None


def _in_table(address: tuple[str, int]) -> str:
    host, port = address
    number = int.from_bytes(bytes(int(part) for part in host.split(".")), sys.byteorder)
    return f"{number:08X}:{port:04X}"
