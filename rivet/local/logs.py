"""Log files of the parts: bounded in size, and their last lines for messages."""

import os
import shutil
from pathlib import Path

MAX_BYTES = 10 * 1024 * 1024
KEPT = 3
_TAIL_BYTES = 64 * 1024


def rotate(path: Path, max_bytes: int = MAX_BYTES) -> bool:
    """Move what is in a log that has grown over `max_bytes` to `.1`, `.1` to `.2`, and so on. True if it did.

    The writers keep the file open (for appending), so its content is copied and the file emptied; what is
    written in the moment between may be lost.
    """
    try:
        if path.stat().st_size <= max_bytes:
            return False
        for number in range(KEPT - 1, 0, -1):
            older = path.with_name(f"{path.name}.{number}")
            if older.exists():
                os.replace(older, path.with_name(f"{path.name}.{number + 1}"))
        shutil.copy2(path, path.with_name(f"{path.name}.1"))
        os.truncate(path, 0)
    except OSError:
        return False
    return True


def last_lines(path: Path, count: int, since: int = 0) -> list[str]:
    """Up to `count` last lines of a log, none from before byte `since`, without control characters."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(since, end - _TAIL_BYTES))
            raw = file.read()
    except OSError:
        return []
    lines = raw.decode("utf-8", "replace").splitlines()[-count:]
    return ["".join(char for char in line if char.isprintable() or char == "\t") for line in lines]
