"""What a run told about itself: its outcome as the cases name them, its lines, and everything else it stored."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Line:
    stream: str
    text: str


@dataclass(slots=True)
class Told:
    """`outcome` is one of the cases', or `crash`, which is never right. `milliseconds` from begin to end.

    `stored` is what is kept of the run besides its lines: names, errors, outputs, and the rows themselves.
    """

    outcome: str
    message: str
    milliseconds: float
    lines: list[Line] = field(default_factory=list)
    stored: list[bytes] = field(default_factory=list)
    raw_log: bytes = b""
    is_invalid: str = ""
