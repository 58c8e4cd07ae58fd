"""What is known of a run that is being followed: its stages with states and times, and why it waits.

It draws itself as lines of pieces (text and colour), cut to no width: `live.py` puts them on a terminal.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rivet.cli.show import colour_of
from rivet.cli.text import harmless, parsed, seconds

Piece = tuple[str, str | None]
"""A text, and the colour it is shown in."""
Line = list[Piece]

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
TURNS_PER_S = 10
A_MOMENT_S = 1.5
BESIDE_NAMES = 26
"""What a state and a time take, in columns."""
_SIGNS = {
    "passed": "✓", "warned": "!", "failed": "✗", "errored": "✗", "timed_out": "✗", "lost": "✗",
    "cancelled": "-", "skipped": "-", "waiting": "?", "pending": "·",
}  # fmt: skip
_ENDED = frozenset({"passed", "warned", "failed", "errored", "cancelled", "timed_out", "skipped"})
_BEFORE_OTHERS = ("running", "waiting", "failed", "errored", "timed_out", "warned", "pending", "passed")
WHY = {
    "no_runner": "no runner serves its queue",
    "queue_busy": "its queue's runners are busy",
    "concurrency": "another run of its group has its turn",
    "approval": "a person has to approve",
}


@dataclass
class Row:
    """One stage: when it began and ended, and its reason or what it asks."""

    name: str
    status: str = "pending"
    reason: str = ""
    begun: datetime | None = None
    ended: datetime | None = None
    attempt: int = 1
    queue: str = ""


@dataclass
class Board:
    """The stages of the run `name` by key, in their order."""

    name: str
    rows: dict[str, Row] = field(default_factory=dict)
    status: str = "queued"
    reason: str = ""
    since: datetime | None = None
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC), repr=False)

    def renew(self, run: Mapping[str, Any]) -> None:
        """Take over what the API says of the whole run."""
        self.status, self.reason = str(run.get("status", "")), str(run.get("reason") or "")
        self.since = parsed(run.get("waiting_since") or run.get("started_at") or run.get("created_at"))
        rows: dict[str, Row] = {}
        for stage in run.get("stages") or ():
            attempts = stage.get("attempts") or ()
            rows[str(stage["key"])] = Row(
                name=harmless(str(stage["name"])),
                status=str(stage["status"]),
                reason=str(stage.get("reason") or ""),
                begun=parsed(attempts[0].get("started_at")) if attempts else None,
                ended=parsed(attempts[-1].get("ended_at")) if attempts else None,
                attempt=len(attempts) or 1,
                queue=str(stage.get("queue") or ""),
            )
        self.rows = rows

    def hear(self, data: Mapping[str, Any]) -> None:
        """Take over one `state` event."""
        status, at = str(data.get("status", "")), parsed(data.get("at"))
        if "stage" in data:
            key = str(data["stage"])
            row = self.rows.setdefault(key, Row(harmless(key)))
            row.status, row.reason = status, str(data.get("reason") or "")
            row.attempt = int(data.get("attempt") or row.attempt)
            if status == "running":
                row.begun, row.ended = row.begun or at, None
                self._runs(at)
            elif status in _ENDED:
                row.ended = at
        elif "run" in data:
            self.status, self.reason, self.since = status, "", self.since or at
        elif "job" in data and status == "running":
            self._runs(at)

    def is_idle(self) -> bool:
        """Whether nothing runs just now, so that why it waits is worth asking."""
        return not any(row.status == "running" for row in self.rows.values())

    def lines(self, most: int, columns: int) -> list[Line]:
        """At most `most` lines: the run itself, then its stages, those that matter most if not all fit.

        Names are shortened so that states and times stay within `columns`.
        """
        return [self._head(), *self._stages(max(1, most - 1), max(8, columns - BESIDE_NAMES))]

    def _runs(self, at: datetime | None) -> None:
        if self.status in ("queued", "waiting"):
            self.status, self.reason, self.since = "running", "", at

    def _head(self) -> Line:
        waits = f": {WHY.get(self.reason, self.reason)}" if self._says_why(self.reason) else ""
        took = f"  {self._elapsed(self.since, None)}" if self.since else ""
        return [
            (f"{self._turn()} ", "cyan"),
            (self.status, colour_of(self.status)),
            (f" {self.name}{took}{waits}", None),
        ]

    def _stages(self, most: int, widest_name: int) -> Iterator[Line]:
        shown = self.rows
        if len(shown) > most:
            order = {status: place for place, status in enumerate(_BEFORE_OTHERS)}
            ranked = sorted(shown, key=lambda key: order.get(shown[key].status, len(order)))
            chosen = set(ranked[: most - 1])
            shown = {key: row for key, row in self.rows.items() if key in chosen}
        widest = max((len(row.name) for row in shown.values()), default=0)
        for row in shown.values():
            yield self._stage(row, min(widest, widest_name))
        if len(shown) < len(self.rows):
            yield [(f"  … and {len(self.rows) - len(shown)} more", "bright_black")]

    def _stage(self, row: Row, width: int) -> Line:
        sign = self._turn() if row.status == "running" else _SIGNS.get(row.status, "·")
        colour = colour_of(row.status)
        quiet = "bright_black" if row.status in ("pending", "skipped") else None
        again = f"  attempt {row.attempt}" if row.attempt > 1 else ""
        why = f"  {WHY.get(row.reason, row.reason)}" if self._says_why(row.reason) else ""
        took = f"  {self._elapsed(row.begun, row.ended)}" if row.begun else ""
        return [
            (f"  {sign} ", colour or quiet),
            (_short(row.name, width), quiet),
            (f"  {row.status}", colour or quiet),
            (took + again + why, quiet),
        ]

    def _says_why(self, reason: str) -> bool:
        """Every job is queued for a moment; that is no reason worth telling."""
        if reason != "queue_busy" or self.since is None:
            return bool(reason)
        return (self.now() - self.since).total_seconds() > A_MOMENT_S

    def _elapsed(self, begun: datetime | None, ended: datetime | None) -> str:
        return "" if begun is None else seconds(((ended or self.now()) - begun).total_seconds())

    def _turn(self) -> str:
        return SPINNER[int(self.now().timestamp() * TURNS_PER_S) % len(SPINNER)]


def _short(name: str, width: int) -> str:
    return name.ljust(width) if len(name) <= width else name[: width - 1] + "…"
