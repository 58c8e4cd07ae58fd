"""What a canary has to find at each level, and what is said where it found something else."""

import os
from collections.abc import Mapping

Expected = Mapping[str, tuple[str, str]]
"""By the name of a finding: what it should be, and the complaint, with the finding in its place."""

_ALWAYS: Expected = {
    "file_read": ("False", "files of the host can be read"),
    "watches": ("False", "changes in folders of the host can be watched"),
    "network": ("False", "the host's loopback is reached"),
    "abstract": ("False", "abstract sockets of the host are reached"),
    "socket": ("False", "Unix sockets of the host are reached"),
    "datagrams": ("False", "datagrams (UDP) get to the host's loopback"),
    "raw": ("False", "packets can be read and written as they are"),
    "signals": ("False", "signals get to processes of the host"),
    "environment": ("False", "the runner's environment can be read"),
    "limits": ("False", "limits of the runner's processes can be seen or changed"),
    "variables": ("", "variables of the runner are seen ({})"),
    "writes_system": ("False", "the system can be written to"),
    "writes_outside": ("False", "files outside of the workspace can be written"),
    "writes_workspace": ("True", "the workspace cannot be written to"),
    "no_new_privileges": ("1", "new privileges can be had"),
    "seccomp": ("2", "no filter of system calls is on"),
    "capabilities": ("0", "processes have capabilities ({})"),
}
_OF_NAMESPACES: Expected = {
    "uid": ("1000", "processes run as user {}"),
    "pids": ("1", "processes of the host are seen ({})"),
    "file_seen": ("False", "files of the host are seen"),
    "mode_changed": ("False", "modes of files of the host can be changed"),
    "proxy": ("False", "the host's loopback is reached"),
    "interfaces": ("lo", "network interfaces are seen ({})"),
}
_OF_LANDLOCK: Expected = {
    "pids": ("", "processes of the host are seen"),
    "proxy": ("True", "the one port of the proxy is not reached"),
    "listens": ("False", "processes can listen on the host's network"),
    "interfaces": ("", "network interfaces of the host are seen"),
}

GAPS: Expected = {
    "file_seen": ("False", "it is seen which files of the host are there, whose and how large"),
    "mode_changed": ("False", "modes and times of files of the runner's own user can be changed"),
}
"""What is told, and does not speak against the level: at `namespaces` it has been looked at already."""


def expected_at(level: str, uid: int | None) -> Expected:
    """`uid` is the user that the room was to have, None for our own."""
    if level == "namespaces":
        return {**_OF_NAMESPACES, **_ALWAYS}
    user = {"uid": (str(os.geteuid() if uid is None else uid), "processes run as user {}")}
    if level == "landlock":
        return {**user, **_OF_LANDLOCK, **_ALWAYS}
    kept = ("writes_workspace", "variables", "no_new_privileges")
    return {**user, **{name: _ALWAYS[name] for name in kept}}
