"""How often a helper process was started: one that dies again and again is not started for ever."""

import time
from collections import deque

STARTS_A_MINUTE = 10


class Starts:
    """Of one helper, `what` for people. For one thread at a time."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._at: deque[float] = deque(maxlen=STARTS_A_MINUTE)

    def another(self) -> str | None:
        """Note one more start; or say why there may be none now."""
        now = time.monotonic()
        if len(self._at) == STARTS_A_MINUTE and now - self._at[0] < 60:
            return (
                f"{self._what} died {STARTS_A_MINUTE} times within a minute; "
                "look for what kills it (memory? a security module?) and try again"
            )
        self._at.append(now)
        return None
