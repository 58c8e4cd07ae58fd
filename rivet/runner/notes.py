"""Notes: small files that a runner keeps for itself, read and written whole, in as few calls as may be.

Some twenty are read and written for each stage, and Python's own way to open a text file asks the system
eight times where three questions do.
"""

import os
from pathlib import Path

MODE = 0o666
"""What the process's mask leaves of it is what the note gets, as any file does."""
_BLOCK = 1 << 16


def read_note(path: Path | str) -> str:
    """All of it. Raises FileNotFoundError and other OSErrors."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        block = os.read(fd, _BLOCK)
        if len(block) < _BLOCK:
            return block.decode()
        blocks = [block]
        while block := os.read(fd, _BLOCK):
            blocks.append(block)
        return b"".join(blocks).decode()
    finally:
        os.close(fd)


def write_note(path: Path | str, text: str, mode: int = MODE) -> None:
    """Anew, whatever it said before. Raises OSError."""
    _write(path, text, os.O_TRUNC, mode)


def add_to_note(path: Path | str, text: str, mode: int = MODE) -> None:
    """At its end. Raises OSError."""
    _write(path, text, os.O_APPEND, mode)


def _write(path: Path | str, text: str, how: int, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, mode)
    try:
        left = memoryview(text.encode())
        while left:
            left = left[os.write(fd, left) :]
    finally:
        os.close(fd)
