"""Pipeline files: what is meant by an argument, and the text of a file."""

from pathlib import Path

from rivet.cli.failures import USAGE, Failed

MAX_BYTES = 32 * 1024 * 1024
"""More is not even read. What a pipeline may have is for the one who checks it to say."""


def is_file(argument: str) -> bool:
    """An argument with `/`, or ending in `.lua`, is a file; anything else is a stored pipeline's name."""
    return "/" in argument or argument.endswith(".lua")


def read_source(argument: str) -> str:
    """The text of the file. Raises Failed if it cannot be read, or is no UTF-8 text."""
    path = Path(argument)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Failed(f"{argument}: {error.strerror}", USAGE) from error
    if len(raw) > MAX_BYTES:
        raise Failed(f"{argument}:1:1: the file is over {MAX_BYTES} bytes; no pipeline is as long", USAGE)
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
        raise Failed(
            f"{argument}:{line}:{column}: byte {raw[error.start]:#04x} is not UTF-8", USAGE
        ) from error
