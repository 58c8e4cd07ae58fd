"""What the verbs need of the world where runners are known."""

from collections.abc import Sequence
from typing import Protocol

from rivet.domain.ids import (
    SessionId,
)
from rivet.domain.job import Job
from rivet.domain.runner import Keeping, Runner
from rivet.domain.states import (
    RunnerStatus,
)


class Runners(Protocol):
    def get(self, name: str) -> Runner | None: ...
    def by_session(self, session: SessionId) -> Runner | None: ...
    def lock(self, name: str) -> Runner | None: ...
    def put(self, runner: Runner) -> None:
        """Insert, or replace the row of that name."""

    def beat(
        self,
        session: SessionId,
        free_slots: int,
        own_queue: int,
        holds: Sequence[str],
        keeping: Keeping | None = None,
    ) -> bool:
        """What it says of itself; without `keeping`, what it said of that before stands."""

    def move(self, runner: Runner, to: RunnerStatus) -> bool: ...
    def silent(self, longer_than_s: float) -> Sequence[Runner]:
        """Online or draining, and not heard of for so long."""

    def held_by(self, session: SessionId) -> Sequence[Job]: ...
    def serving(self, queue: str) -> Sequence[str]:
        """Names of those that are online and serve the queue."""

    def living(self) -> Sequence[str]:
        """Names of those that are online or draining."""

    def names(self) -> Sequence[str]:
        """Of every runner that may still have a stream."""

    def gone(self, longer_than_s: float) -> Sequence[str]:
        """Names of those that are offline or lost, not heard of for so long, and hold no running job."""
