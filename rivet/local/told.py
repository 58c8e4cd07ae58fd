"""How the commands of the local system speak: progress to standard error, failures as one clear message."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from rivet.local.home import HomeUnusable
from rivet.local.ports import PortTaken
from rivet.local.supervisor import PartFailed

USAGE, UNREACHABLE = 2, 3


class Failed(click.ClickException):
    """The command ends here, with this exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]


def tell(line: str) -> None:
    """One line for people, on standard error."""
    try:
        sys.stderr.write(f"rivet: {line}\n")
        sys.stderr.flush()
    except OSError:
        pass  # nobody reads any more; the system goes on all the same


@contextmanager
def failures_told() -> Iterator[None]:
    """Turn what can go wrong with a home, a port or a part into a message and the exit code of it."""
    try:
        yield
    except (HomeUnusable, PortTaken, PartFailed) as error:
        raise Failed(str(error), UNREACHABLE) from error
