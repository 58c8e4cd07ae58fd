"""How often a stage is tried, and how long before the next time."""

from dataclasses import dataclass

MAX_RETRY_DELAY_S = 600.0
MOST_HELD_S = 10.0
"""A slot waits so long for the next attempt; for a longer delay it is given back."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a stage is tried in all, after which ends, and how long before the next time, in seconds.

    Each delay is `backoff` times the one before.
    """

    attempts: int = 1
    delay_s: float = 0.0
    backoff: float = 1.0
    on: tuple[str, ...] = ("failed",)

    def delay_before(self, attempt: int) -> float:
        """Seconds before the attempt of that number; the first has none."""
        if attempt <= 1:
            return 0.0
        return min(self.delay_s * self.backoff ** (attempt - 2), MAX_RETRY_DELAY_S)

    def gives_slot_back(self, attempt: int) -> bool:
        """Whether the delay before the attempt of that number is too long to hold a slot for it."""
        return self.delay_before(attempt) > MOST_HELD_S


ONCE = Retry()
