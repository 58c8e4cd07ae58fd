"""What the verbs need of the world where something is paused."""

from typing import Protocol

from rivet.domain.pause import Pause, Paused


class Pauses(Protocol):
    def put(self, kind: Paused, target: str, why: str, actor: str) -> Pause:
        """Pause it; where it is paused already, with another reason and by whom. Since when stays."""

    def get(self, kind: Paused, target: str) -> Pause | None: ...
    def drop(self, kind: Paused, target: str) -> bool:
        """False where it is not paused."""

    def publish_again(self, kind: Paused, target: str) -> int:
        """Let its queued jobs be published, after the commit; how many. What is paused besides stays so."""
