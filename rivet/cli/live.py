"""A followed run on a terminal: the log scrolls by above, its stages stay in view below, until it ends."""

import os
import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

import click

from rivet.cli.board import TURNS_PER_S, WHY, Board
from rivet.cli.text import harmless
from rivet.client import ApiProblem, ApiUnreachable, Client

FEWEST_COLUMNS, FEWEST_LINES = 20, 6
FIRST_LOOK_S, NEXT_LOOK_S = 1.5, 3.0
LOOK_TIMEOUT_S = 5.0


class Screen(Protocol):
    """Where a followed run is told."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *ended: Any) -> None: ...
    def write(self, text: str) -> None:
        """Whole lines of the log and its headers, made harmless before."""

    def note(self, text: str) -> None:
        """One line about the following itself."""


class PlainScreen:
    """Lines one after the other, as in a pipe or a file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended: Any) -> None:
        sys.stdout.flush()

    def write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def note(self, text: str) -> None:
        click.echo(f"rivet: {text}", err=True)


class LiveScreen:
    """The board stays beneath the log and is drawn again, only where it changed, ten times a second."""

    def __init__(self, board: Board) -> None:
        from rich.console import Console
        from rich.live import Live

        self._board = board
        plain = bool(os.environ.get("NO_COLOR"))
        self._console = Console(file=sys.stdout, highlight=False, no_color=plain, soft_wrap=True)
        self._live = Live(
            get_renderable=self._drawn,
            console=self._console,
            refresh_per_second=TURNS_PER_S,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def write(self, text: str) -> None:
        self._console.out(text.removesuffix("\n"), highlight=False)

    def note(self, text: str) -> None:
        self._console.out(f"rivet: {text}", highlight=False)

    def _drawn(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        width, height = self._console.size
        drawn = []
        for line in self._board.lines(max(2, min(height // 2, height - 4)), width):
            text = Text(no_wrap=True, overflow="ellipsis")
            for piece, colour in line:
                text.append(piece, style=colour or "")
            # One column less: a terminal that is just being made narrower would wrap a full line.
            text.truncate(max(1, width - 1), overflow="ellipsis")
            drawn.append(text)
        return Group(Text(""), *drawn)


def may_be_live() -> bool:
    """Whether standard output is a terminal that can be drawn on, and is large enough for it."""
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        return False
    columns, lines = os.get_terminal_size(sys.stdout.fileno())
    # A terminal that does not know its size says 0, which is taken for the usual one.
    return (columns or 80) >= FEWEST_COLUMNS and (lines or 24) >= FEWEST_LINES


class Look:
    """Asks now and then why a run waits while nothing of it runs; no event tells that.

    What it finds is on the board; `told` hears once of each queue that no runner serves.
    """

    def __init__(self, client: Client, run_id: str, board: Board, screen: Screen, *, tells: bool) -> None:
        self._client = Client(client.url, client.token, LOOK_TIMEOUT_S)
        self._run_id, self._board, self._screen, self._tells = run_id, board, screen, tells
        self._over = threading.Event()
        self._told: set[str] = set()
        self._thread = threading.Thread(target=self._look, name="look", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *ended: Any) -> None:
        self._over.set()

    def _look(self) -> None:
        wait_s = FIRST_LOOK_S
        while not self._over.wait(wait_s):
            wait_s = NEXT_LOOK_S
            if not self._board.is_idle():
                continue
            try:
                run = self._client.call("GET", f"/runs/{self._run_id}")
            except (ApiProblem, ApiUnreachable):
                continue  # the stream of events says so, and tries again
            if not self._over.is_set() and self._board.is_idle():
                self._board.renew(run)
                if self._tells:
                    self._tell(run)

    def _tell(self, run: Mapping[str, Any]) -> None:
        for stage in run.get("stages") or ():
            queue = str(stage.get("queue"))
            if stage.get("reason") == "no_runner" and queue not in self._told:
                self._told.add(queue)
                way_out = f"rivet runner start --queue {queue}"
                self._screen.note(harmless(f'{WHY["no_runner"]}, "{queue}"; start one: {way_out}'))
