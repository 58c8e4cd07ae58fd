"""Loopback ports: one that was asked for is had or refused, a default one gives way to the next free."""

import socket

HOW_MANY_TO_TRY = 100


class PortTaken(Exception):
    """A port that was asked for is used by another program, or may not be used."""


def choose_port(wanted: int | None, default: int, *, option: str, avoid: tuple[int, ...] = ()) -> int:
    """The port to listen on: `wanted`, any free one if it is 0, and from `default` on if it is None.

    Raises PortTaken; `option` is what the user would give another port with.
    """
    if wanted == 0:
        return _any_free(avoid)
    if wanted is not None:
        why = "" if wanted not in avoid else "it was given twice"
        why = why or _why_not(wanted)
        if why:
            raise PortTaken(
                f"port {wanted} cannot be used: {why}. Give another with {option}, "
                f"or {option} 0 for any free one."
            )
        return wanted
    for port in range(default, min(default + HOW_MANY_TO_TRY, 65536)):
        if port not in avoid and not _why_not(port):
            return port
    raise PortTaken(
        f"no port from {default} to {default + HOW_MANY_TO_TRY - 1} is free. Give one with {option}, "
        f"or {option} 0 for any free one."
    )



def _any_free(avoid: tuple[int, ...]) -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in avoid:
            return port


def _why_not(port: int) -> str:
    """Why nothing can listen on that port; empty if something can."""
    with socket.socket() as probe:
        # What a server does too; without it a port of a server just ended would look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except PermissionError:
            return "ports below 1024 are reserved on this machine"
        except OSError:
            return "another program is listening there"
    return ""
