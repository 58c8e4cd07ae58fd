"""The read-only system that every room sees: the distribution's programs, and of /etc what programs need.

Nothing of /etc is shown that could hold a secret or say who uses this machine; users, hosts and name
resolution are files of our own.
"""

import functools
import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path

from rivet.sandbox.isolation.bind import Bind

ROOM_UID = 1000
USER = "stage"

_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_FOLDERS_OF_ETC = (
    "alternatives",
    "crypto-policies",
    "fonts",
    "java-11-openjdk",
    "java-17-openjdk",
    "java-21-openjdk",
    "nodejs",
    "perl",
    "pki/ca-trust",
    "pki/tls",
    "ssl/certs",
)
_FILES_OF_ETC = (
    "debian_version",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d/*",
    "localtime",
    "lsb-release",
    "mime.types",
    "os-release",
    "protocols",
    "services",
    "ssl/openssl.cnf",
)
MOST_FILE_BYTES = 1 << 20
LOOK_S = 10.0
"""How old a copy may be: packages are seldom installed, and looking takes longer than a room's start may."""

_OF_HOST = (
    "/etc/nsswitch.conf", "/proc/cpuinfo", "/proc/filesystems", "/proc/loadavg", "/proc/meminfo",
    "/proc/stat", "/proc/uptime", "/proc/version", "/sys/devices/system/cpu",
)  # fmt: skip
"""What programs look up about the machine. Of `/proc` nothing that is a process's: no rule tells whose."""
DEVICES = tuple(Path("/dev", name) for name in ("null", "zero", "full", "random", "urandom"))


@functools.cache
def system_binds() -> tuple[Bind, ...]:
    """What makes the system visible; looked up once, for a system changes rarely."""
    binds = [Bind(Path("/usr"), "/usr")]
    for name in _MERGED:
        path = Path("/", name)
        if path.is_symlink():
            binds.append(Bind(Path(os.readlink(path)), f"/{name}", is_link=True))
        elif path.is_dir():
            binds.append(Bind(path, f"/{name}"))
    folders = (Path("/etc", name) for name in _FOLDERS_OF_ETC)
    return (*binds, *(Bind(folder, str(folder)) for folder in folders if folder.is_dir()))


def system_paths() -> tuple[Path, ...]:
    """What a room sees of the host's own files where it has no others."""
    roots = [Path("/", name) for name in _MERGED]
    merged = [path for path in roots if path.is_dir() and not path.is_symlink()]
    files = [path for pattern in _FILES_OF_ETC for path in Path("/etc").glob(pattern)]
    folders = [Path("/etc", name) for name in _FOLDERS_OF_ETC]
    return (Path("/usr"), *merged, *folders, *files, *map(Path, _OF_HOST))


def is_of_the_system(path: Path) -> bool:
    """Whether a resolved path is visible in every room anyway."""
    return path.parts[:2] == ("/", "usr") or (path.parts[1:2] or ("",))[0] in _MERGED


def system_files(hostname: str) -> Mapping[str, bytes]:
    """Files of the room by their path in it: copies of what is harmless, and our own for the rest.

    A copy is cheaper for bubblewrap than a mount.
    """
    return {
        **_copies(time.monotonic() // LOOK_S),
        "/etc/passwd": (
            f"root:x:0:0:root:/root:/usr/sbin/nologin\n{USER}:x:{ROOM_UID}:{ROOM_UID}::/home/{USER}:/bin/sh\n"
            "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
        ).encode(),
        "/etc/group": f"root:x:0:\n{USER}:x:{ROOM_UID}:\nnogroup:x:65534:\n".encode(),
        "/etc/nsswitch.conf": b"passwd: files\ngroup: files\nhosts: files\nservices: files\n",
        "/etc/hosts": f"127.0.0.1 localhost {hostname}\n::1 localhost\n".encode(),
        "/etc/hostname": f"{hostname}\n".encode(),
        "/etc/resolv.conf": b"# Names are resolved outside, by the proxy.\n",
    }


@functools.lru_cache(maxsize=1)
def _copies(_at: float) -> dict[str, bytes]:
    found = {}
    for pattern in _FILES_OF_ETC:
        for path in Path("/etc").glob(pattern):
            try:
                status = path.stat()
                if stat.S_ISREG(status.st_mode) and status.st_size <= MOST_FILE_BYTES:
                    found[str(path)] = _content(path, status.st_mtime_ns)
            except OSError:
                continue
    return found


@functools.lru_cache(maxsize=128)
def _content(path: Path, _changed: int) -> bytes:
    return path.read_bytes()
