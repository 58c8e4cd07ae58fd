"""A stage's room as a bench for our own programs: what is said of their work is Rivet's word, no script's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rivet.runner.room import Ended
from rivet.runner.room_command import Output
from rivet.sandbox.isolation.enclosure import Layout


class Runs(Protocol):
    """Runs a program of ours in the room to its end."""

    def __call__(self, argv: Sequence[str], *, on_output: Output, stdin: int | None = None) -> Ended: ...


@dataclass(frozen=True, slots=True)
class StageBench:
    """A `packing.Bench`; `say` takes a level and a line, `find_layout` opens the room if it is not open."""

    run_program: Runs
    say: Callable[[str, str], None]
    find_layout: Callable[[], Layout]

    @property
    def layout(self) -> Layout:
        return self.find_layout()
