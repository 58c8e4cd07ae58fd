"""Which lines of a log are asked for: of a stage, those that a pattern finds, the last so many."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rivet.cli.failures import USAGE, Failed
from rivet.cli.text import shown


@dataclass
class Wanted:
    """`stage` is a key; `skip` lines of it are passed over before the first is shown."""

    stage: str | None = None
    pattern: re.Pattern[str] | None = None
    skip: int = 0
    _passed: int = field(default=0, init=False)

    @property
    def is_all(self) -> bool:
        return self.stage is None and self.pattern is None and self.skip == 0

    def has(self, data: Mapping[str, Any]) -> bool:
        """Whether an event is of that stage, or of none."""
        return self.stage is None or data.get("stage", self.stage) == self.stage

    def of(self, data: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """The lines of a `log` event that are asked for."""
        if not self.has(data):
            return ()
        lines: Sequence[Mapping[str, Any]] = data.get("lines") or ()
        if self._passed < self.skip:
            over = min(len(lines), self.skip - self._passed)
            self._passed += over
            lines = lines[over:]
        if self.pattern is None:
            return lines
        return [line for line in lines if self.pattern.search(shown(str(line.get("text", ""))))]


def lines_of(run: Mapping[str, Any], stage: str | None) -> int:
    """How many lines a run, or a stage of it, has by now."""
    return sum(
        int(attempt.get("lines") or 0)
        for each in run.get("stages") or ()
        for attempt in each.get("attempts") or ()
        if stage is None or each["key"] == stage
    )


def pattern_of(text: str | None) -> re.Pattern[str] | None:
    """The regular expression that was given. Raises Failed if it is none."""
    if text is None:
        return None
    try:
        return re.compile(text)
    except re.error as error:
        raise Failed(f"--grep {text}: {error}; it takes a regular expression of Python's", USAGE) from error
