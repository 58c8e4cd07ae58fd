"""Tables and states on a terminal, plain in a pipe and under NO_COLOR."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from rivet.cli.text import harmless

_COLOURS = {
    "passed": "green",
    "online": "green",
    "warned": "yellow",
    "waiting": "yellow",
    "cancelling": "yellow",
    "draining": "yellow",
    "running": "cyan",
    "queued": "cyan",
    "failed": "red",
    "errored": "red",
    "timed_out": "red",
    "lost": "red",
    "cancelled": "magenta",
}


def may_colour(error: bool = False) -> bool:
    """Whether the stream is a terminal whose user has not asked for plain text."""
    stream = sys.stderr if error else sys.stdout
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def colour_of(status: str) -> str | None:
    """The colour of a state."""
    return _COLOURS.get(status)


def paint(text: str, colour: str | None = None, *, bold: bool = False, dim: bool = False) -> str:
    """`text` in a colour, where colours are shown."""
    return click.style(text, fg=colour, bold=bold, dim=dim) if may_colour() else text


def state(status: str, text: str | None = None) -> str:
    """A state in its colour."""
    return paint(text if text is not None else status, _COLOURS.get(status))


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """Rows under a header, each column as wide as it needs; where there are none, `empty` is told."""
    if not rows:
        click.echo(empty, err=True)
        return
    clean = [[harmless(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in [list(header), *clean]) for column in range(len(header))]
    click.echo(paint(_line(header, widths), bold=True))
    for row in clean:
        coloured = [state(cell, cell.ljust(width)) for cell, width in zip(row, widths, strict=True)]
        click.echo("  ".join(coloured).rstrip())


def names_alone(items: Iterable[Mapping[str, Any]], field: str) -> None:
    """What `--quiet` leaves of a list: a name a line, for a shell's loops."""
    for item in items:
        click.echo(harmless(str(item[field])))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
