"""What a level of isolation does not give, for whoever wrote a stage that needs it."""

import re
from collections.abc import Sequence

from rivet.runner.reach import ProxyRules

_OF_SOCKETS = re.compile(
    r"address family not supported|eafnosupport"
    r"|(connect|listen|bind|socket).*(permission denied|not permitted|eacces|eperm)"
    r"|(permission denied|not permitted|eacces|eperm).*(connect|listen|bind|socket)",
    re.IGNORECASE,
)
_NO_LOOPBACK = (
    "At isolation landlock a stage has no loopback of its own: its processes listen nowhere, and connect to "
    "nothing but the proxy of its granted network. A runner with isolation namespaces has one"
)


def level_hint(level: str, tail: Sequence[str]) -> str:
    """A sentence for the error of a command that ended with these lines; empty if the level did nothing."""
    if level == "landlock" and any(_OF_SOCKETS.search(line) for line in tail):
        return _NO_LOOPBACK
    return ""


def without_port(level: str) -> str:
    """Why no port of the room can be waited for; empty where it can."""
    return _NO_LOOPBACK if level == "landlock" else ""


def without_doors(level: str, rules: ProxyRules | None) -> str:
    """What is to be said of hosts that a pipeline names and this level gives no door; empty if none."""
    if level != "landlock" or rules is None:
        return ""
    doors = [f"{host}:{port}" for host, port in rules.doors()]
    named = [door for door in doors if door in rules.hosts]
    if not named:
        return ""
    return (
        f"at isolation landlock {', '.join(named)} can be reached through the proxy alone (HTTPS_PROXY), and "
        "not directly: programs that know no proxy need a runner with isolation namespaces"
    )
