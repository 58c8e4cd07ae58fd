"""How a process becomes pid 1 of a room of its own namespaces: what bubblewrap does, step by step.

Forked from the builder, which has neither secrets nor anything of another room. Standard library alone.
A process comes here with the rights of the runner, and leaves `shut_in` with none: every namespace its own,
no capability, no way to a further user namespace, the filter of system calls on. Raises OSError throughout.
"""

import _signal  # type: ignore[import-not-found]
import _socket
import os
import resource
import select
import struct

from rivet.sandbox.isolation import kernel, mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    _Taken = list[tuple[int | bytes, bytes]]

READ, WRITE, LINK = "read", "write", "link"
_EVERY_NAMESPACE = (
    0x00020000  # mounts
    | 0x02000000  # control groups
    | 0x04000000  # host's name
    | 0x08000000  # System V's memory and messages
    | 0x10000000  # users
    | 0x20000000  # processes
    | 0x40000000  # network
)
_NEW_USERS = 0x10000000
_SIOCSIFFLAGS, _UP = 0x8914, 1
_DEVICES = (b"null", b"zero", b"full", b"random", b"urandom", b"tty")
_LINKS_OF_DEV = (
    (b"/proc/self/fd/0", b"stdin"), (b"/proc/self/fd/1", b"stdout"), (b"/proc/self/fd/2", b"stderr"),
    (b"/proc/self/fd", b"fd"), (b"/proc/kcore", b"core"), (b"pts/ptmx", b"ptmx"),
)  # fmt: skip
_BOUND = mounts.NO_SUID | mounts.NO_DEVICES
_OVER = b"/tmp"


class Parts:
    """What a room is made of, as the supervisor says it (`built.py` writes it, marshalled).

    `shown` is what it sees of the host, outer ones first: (source, target, READ or WRITE), or (what it says,
    where it is, LINK). `files` are contents by path (None where it is one that
    all rooms have), `folders` are made. `tmp` and `shm` are sizes in bytes.
    """

    def __init__(self, told: "dict[str, Any]") -> None:
        self.uid: int | None = told["uid"]
        self.hostname: bytes = told["hostname"]
        self.open_files: int = told["open_files"]
        self.shown: list[tuple[bytes, bytes, str]] = told["shown"]
        self.folders: list[bytes] = told["folders"]
        self.files: dict[bytes, bytes | None] = told["files"]
        self.tmp: int = told["tmp"]
        self.shm: int = told["shm"]
        self.room_uid: int = told["room_uid"]
        self.cwd: bytes = told["cwd"]


def shut_in(parts: Parts, common: dict[bytes, bytes], program: kernel.Filter, builder: int) -> None:
    """Return in a new process that is pid 1 of the room; the one that called has ended then.

    `common` are the files that all rooms have, `builder` is a descriptor of the process with which the room
    is to end.
    """
    _limit(parts.open_files)
    kernel.prefer_for_oom_kill()
    taken = None
    if parts.uid is not None:
        # While we are root: they may lie where nobody else can enter.
        taken = _taken(parts)
        os.setgroups([])
        os.setresgid(parts.uid, parts.uid, parts.uid)
        os.setresuid(parts.uid, parts.uid, parts.uid)
        # Which that change has taken back, and without which the next step may not be said.
        kernel.call("prctl", kernel.PR_SET_DUMPABLE, 1, 0, 0, 0)
    kernel.call("prctl", kernel.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    users, groups = os.getuid(), os.getgid()
    kernel.call("unshare", _EVERY_NAMESPACE)
    _map_users(0, users, groups)
    before = os.pidfd_open(os.getpid())
    if os.fork() != 0:
        os._exit(0)
    os.setsid()
    mounts.hide_from_others()
    _lay_out(parts, common, _taken(parts) if taken is None else taken)
    kernel.call("sethostname", parts.hostname, len(parts.hostname))
    _raise_loopback()
    _forbid_namespaces(parts.room_uid)
    os.chdir(parts.cwd)
    kernel.drop_capabilities()
    _end_with(builder, before)
    program.enter()


def _limit(open_files: int) -> None:
    for number, most in ((resource.RLIMIT_NOFILE, open_files), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(number, kernel.at_most(number, most))


def _taken(parts: Parts) -> "_Taken":
    """The mounts of all that is shown; what a link says, for one."""
    found: _Taken = []
    for source, target, kind in parts.shown:
        attributes = _BOUND if kind == WRITE else _BOUND | mounts.READ_ONLY
        found.append((source if kind == LINK else mounts.taken(source, attributes), target))
    return found


def _map_users(inside: int, users: int, groups: int) -> None:
    _write("/proc/self/uid_map", f"{inside} {users} 1")
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/gid_map", f"{inside} {groups} 1")


def _lay_out(parts: Parts, common: dict[bytes, bytes], taken: "_Taken") -> None:
    """Make the room's files, and leave those of the host: from then on nothing of it can be named."""
    umask = os.umask(0)
    devices = [(mounts.taken(b"/dev/" + name, mounts.NO_SUID), b"/dev/" + name) for name in _DEVICES]
    # The kernel gives a `/proc` only to those who see another one.
    processes = mounts.made(b"proc", _BOUND | mounts.NO_PROGRAMS)
    mounts.become_root(mounts.made(b"tmpfs", _BOUND, mode="0755"), _OVER)
    for folder in parts.folders:
        mounts.make_folder(folder)
    mounts.put(processes, b"/proc")
    mounts.put(mounts.made(b"tmpfs", _BOUND, mode="0755"), b"/dev")
    for device, target in devices:
        mounts.put(device, target)
    for says, name in _LINKS_OF_DEV:
        os.symlink(says, b"/dev/" + name)
    terminals = mounts.made(b"devpts", mounts.NO_SUID | mounts.NO_PROGRAMS, ptmxmode="0666", mode="620")
    mounts.put(terminals, b"/dev/pts")
    mounts.put(mounts.made(b"tmpfs", _BOUND, mode="1777", size=str(parts.shm)), b"/dev/shm")
    mounts.make_read_only(b"/dev")
    mounts.put(mounts.made(b"tmpfs", _BOUND, mode="1777", size=str(parts.tmp)), b"/tmp")
    for path, content in parts.files.items():
        mounts.make_file(path, common[path] if content is None else content, 0o444)
    for mount, target in taken:
        if isinstance(mount, int):
            mounts.put(mount, target)
        else:
            mounts.make_folder(os.path.dirname(target))
            os.symlink(mount, target)
    mounts.make_read_only(b"/")
    os.umask(umask)


def _raise_loopback() -> None:
    """The kernel gives it its addresses."""
    any_socket = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    kernel.call("ioctl", any_socket.fileno(), _SIOCSIFFLAGS, struct.pack("=16sH14x", b"lo", _UP))
    any_socket.close()


def _forbid_namespaces(room_uid: int) -> None:
    """Enter the last user namespace that there may be, and be somebody in it who is not root."""
    _write("/proc/sys/user/max_user_namespaces", "1")
    kernel.call("unshare", _NEW_USERS)
    _map_users(room_uid, 0, 0)
    try:
        kernel.call("unshare", _NEW_USERS)
    except OSError:
        return
    raise OSError("user namespaces cannot be forbidden")


def _end_with(builder: int, before: int) -> None:
    """Be killed when the builder ends: it is our parent once the process that forked us is gone."""
    select.select([before], [], [])
    kernel.call("prctl", kernel.PR_SET_PDEATHSIG, int(_signal.SIGKILL), 0, 0, 0)
    if select.select([builder], [], [], 0)[0]:
        os._exit(1)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
