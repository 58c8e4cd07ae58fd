"""What planning needs of the world: somebody who goes through a stage's script without doing anything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from rivet.domain.ids import Path
from rivet.engine.ports import Evaluator


@dataclass(frozen=True, slots=True)
class ToRehearse:
    """A stage at a `path` of the evaluated table, and what its script would read."""

    source: str
    path: Path
    has_script: bool
    has_when: bool
    inputs: Mapping[str, Any]
    facts: Mapping[str, Any]
    env: Mapping[str, str]
    outputs: Mapping[str, Any]
    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NotedCall:
    """A call as it is written, and whether what it was answered is assumed."""

    call: str
    assumed: bool


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What a stage would do. `when` is None where it has no condition or what it says cannot be known.

    `unknown` says from where on nothing can be known, and why; `left_out` counts calls beyond those noted.
    """

    calls: Sequence[NotedCall] = ()
    left_out: int = 0
    secrets: Sequence[str] = ()
    outputs: Mapping[str, Any] = field(default_factory=dict)
    when: bool | None = None
    unknown: str | None = None


class Rehearser(Evaluator, Protocol):
    def rehearse(self, asked: ToRehearse) -> Rehearsed:
        """Go through the script; nothing is done. Raises Unavailable."""
