"""What a stage reports of its tests and of how much of the code they reached."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

MOST_CASES = 50_000
MOST_TEXT = 500
MOST_MESSAGE = 4_000
MOST_DETAILS = 16_000
FLAKY_RUNS = 50
"""A test is flaky that both passed and failed in so many runs of the pipeline, the newest ones."""


class CaseStatus(StrEnum):
    """The worst first: the order in which they are shown."""

    FAILED = "failed"
    ERRORED = "errored"
    SKIPPED = "skipped"
    PASSED = "passed"


WORST_FIRST = (CaseStatus.FAILED, CaseStatus.ERRORED, CaseStatus.SKIPPED, CaseStatus.PASSED)


@dataclass(frozen=True, slots=True)
class Case:
    """One test as JUnit has it. `seconds` is how long it took; `message` and `details` say what was wrong."""

    suite: str
    classname: str
    name: str
    status: CaseStatus
    seconds: float
    message: str = ""
    details: str = ""

    def as_list(self) -> list[Any]:
        """The fields in their order: what travels in a record."""
        told = [self.suite, self.classname, self.name, self.status.value]
        return [*told, round(self.seconds, 6), self.message, self.details]

    @classmethod
    def read(cls, told: object) -> Self:
        """From `as_list`, cut to what is stored. Raises ValueError for what is none."""
        if not isinstance(told, Sequence) or len(told) != 7:
            raise ValueError("a test case has seven fields")
        suite, classname, name, status, seconds, message, details = told
        if not isinstance(seconds, int | float) or not 0 <= seconds < 1e9:
            raise ValueError("a test's time is no number of seconds")
        return cls(
            _text(suite, MOST_TEXT),
            _text(classname, MOST_TEXT),
            _text(name, MOST_TEXT),
            CaseStatus(status),
            float(seconds),
            _text(message, MOST_MESSAGE),
            _text(details, MOST_DETAILS),
        )


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many lines of code there are, and how many were reached. `source` is the file it was read from."""

    source: str
    form: str
    lines: int
    covered: int

    @property
    def line_rate(self) -> float:
        """From 0 to 1; 1 where there is nothing to reach."""
        return self.covered / self.lines if self.lines else 1.0

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Self:
        """Raises ValueError for what is none."""
        lines, covered = told.get("lines"), told.get("covered")
        if not isinstance(lines, int) or not isinstance(covered, int) or not 0 <= covered <= lines < 2**40:
            raise ValueError("coverage has 0 or more lines, and no more of them covered than there are")
        return cls(_text(told.get("source"), MOST_TEXT), _text(told.get("form"), 20), lines, covered)


def counts(statuses: Iterable[tuple[CaseStatus, int]]) -> dict[str, int]:
    """How many tests there are in all and of each status."""
    found = dict.fromkeys((status.value for status in WORST_FIRST), 0)
    for status, number in statuses:
        found[status.value] += number
    return {"tests": sum(found.values()), **found}


def _text(value: object, most: int) -> str:
    if not isinstance(value, str):
        raise ValueError("expected a text")
    return value.encode("utf-8", "replace").decode().replace("\0", "")[:most]
