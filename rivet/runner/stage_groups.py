"""Groups of a stage's log: a line where one begins and one where it ends, which a page can fold between.

The first has the level `group`, the last `group_end`; between them the log is as it always is.
"""

import time
from dataclasses import dataclass

from rivet.modules.contract import CallError
from rivet.runner.log_writer import LogWriter

MOST_WITHIN_ONE_ANOTHER = 16


@dataclass(frozen=True, slots=True)
class _Group:
    number: int
    name: str
    begun: float


class StageGroups:
    """Of one attempt, called by the script's thread."""

    def __init__(self, log: LogWriter) -> None:
        self._log = log
        self._open: list[_Group] = []
        self._begun = 0

    def begin(self, name: str) -> int:
        """Begin a group within those that are open; its number. Raises CallError."""
        if len(self._open) >= MOST_WITHIN_ONE_ANOTHER:
            raise CallError(f"log.group: {MOST_WITHIN_ONE_ANOTHER} groups within one another are the most")
        self._begun += 1
        self._open.append(_Group(self._begun, name, time.monotonic()))
        self._log.say("group", f"group: {name}")
        return self._begun

    def end(self, number: int) -> None:
        """End a group, and what is still open within it. One that has ended is fine."""
        while any(group.number == number for group in self._open):
            group = self._open.pop()
            seconds = time.monotonic() - group.begun
            self._log.say("group_end", f"end of group: {group.name}, {seconds:.1f} s")

    def end_all(self) -> None:
        """The script is over: what an error left open ends here."""
        if self._open:
            self.end(self._open[0].number)
