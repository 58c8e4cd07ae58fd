"""How fast a script calls modules: a bucket of calls that fills up again, as many a second as are allowed."""

import time
from collections.abc import Callable

from rivet.domain.limits import OverLimit

OVER_S = 10.0


class Pace:
    """`a_second` on the average of ten seconds: a script that was quiet may be quick for a while."""

    def __init__(self, a_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._a_second, self._clock = a_second, clock
        self._left = a_second * OVER_S
        self._at = clock()

    def step(self) -> None:
        """Count a call. Raises OverLimit."""
        self._left -= 1
        if self._left >= 0:
            return
        now = self._clock()
        self._left = min(self._left + (now - self._at) * self._a_second, self._a_second * OVER_S)
        self._at = now
        if self._left < 0:
            raise OverLimit("calls", self._a_second)
