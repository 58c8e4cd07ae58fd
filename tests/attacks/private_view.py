"""Start a program with a view of files of its own, and as an ordinary user if so asked. For root alone.

    python private_view.py '{"uid": 299501, "over": {"/etc/resolv.conf": "/tmp/x"}, "show": ["/root/.venv"]}' PROGRAM …

It imports nothing but the standard library: what is installed may be out of reach of the user to become.
"""

import ctypes
import json
import os
import stat
import sys
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_PRIVATE, _MS_NOSUID, _MS_NODEV = 0x1000, 0x4000, 0x40000, 2, 4
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """`over` are files laid over others; `show` are folders that every user is to reach."""
    asked = json.loads(sys.argv[1])
    _call("unshare", _CLONE_NEWNS)
    _call("mount", None, b"/", None, _MS_REC | _MS_PRIVATE, None)
    for target, source in asked["over"].items():
        # A link's target is what is covered: the link itself may be on a mount that goes away.
        _call("mount", source.encode(), os.path.realpath(target).encode(), None, _MS_BIND, None)
    if asked["uid"] is not None:
        _open_up([Path(folder) for folder in asked["show"]])
        os.setgroups([])
        os.setresgid(*[asked["uid"]] * 3)
        os.setresuid(*[asked["uid"]] * 3)
    os.execvp(sys.argv[2], sys.argv[2:])


def _open_up(folders: list[Path]) -> None:
    """Cover what others may not enter with an empty folder, in which only what is to be seen is found."""
    opened = [(folder, os.open(folder, os.O_PATH | os.O_CLOEXEC)) for folder in folders]
    covered: set[Path] = set()
    for folder, fd in opened:
        closed = [each for each in reversed(folder.parents) if not each.stat().st_mode & stat.S_IXOTH]
        if closed and closed[0] not in covered and not covered & set(folder.parents):
            covered.add(closed[0])
            _call("mount", b"tmpfs", bytes(closed[0]), b"tmpfs", _MS_NOSUID | _MS_NODEV, b"mode=755,size=1m")
        if covered & set(folder.parents):
            folder.mkdir(parents=True, exist_ok=True)
            _call("mount", b"/proc/self/fd/%d" % fd, bytes(folder), None, _MS_BIND | _MS_REC, None)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


if __name__ == "__main__":
    main()
