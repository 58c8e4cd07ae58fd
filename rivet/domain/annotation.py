"""What a stage says about a line of a file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

LEVELS = ("info", "warn", "error")
MOST_OF_AN_ATTEMPT = 100
"""What comes after so many stands in the log alone."""
MOST_SHOWN = 100
MOST_TEXT = 8192


@dataclass(frozen=True, slots=True)
class Annotation:
    """`level` is one of LEVELS; `line` counts from 1."""

    level: str
    message: str
    file: str | None
    line: int | None

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Self:
        """What a record says. Raises ValueError where it is none."""
        level, message = told.get("level"), told.get("message")
        file, line = told.get("file"), told.get("line")
        if level not in LEVELS or not isinstance(message, str) or len(message) > MOST_TEXT:
            raise ValueError("an annotation without a level or a message")
        if file is not None and (not isinstance(file, str) or len(file) > MOST_TEXT):
            raise ValueError("an annotation of a file that has no name")
        if line is not None and (isinstance(line, bool) or not isinstance(line, int) or not 0 < line < 2**31):
            raise ValueError("an annotation of a line that no file has")
        return cls(level, message, file, line)

    def as_dict(self) -> dict[str, Any]:
        return {"level": self.level, "message": self.message, "file": self.file, "line": self.line}

    def __str__(self) -> str:
        place = [str(part) for part in (self.file, self.line) if part is not None]
        return ":".join([*place, f" {self.message}"]) if place else self.message
