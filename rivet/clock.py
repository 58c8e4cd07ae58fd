"""Work that is to be done at a time, by one thread that stays.

A thread for each stage costs more than what it does: whoever starts one waits until it runs, on a machine
whose processors are busy.
"""

import heapq
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

Work = Callable[[], float | None]
"""Called at its time; says when it is to be called again, on the monotonic clock, or None."""

_log = logging.getLogger(__name__)


@dataclass(order=True, slots=True)
class Call:
    """What was asked of a clock."""

    at: float
    number: int
    work: Work = field(compare=False)
    is_off: bool = field(default=False, compare=False)

    def call_off(self) -> None:
        """It is not begun any more; where it is at work now, it comes to its end."""
        self.is_off = True


class Clock:
    """One thread for one kind of work, begun when it is first needed; a process that was forked has its own.

    What is called may wait for a while; whatever else is asked of the same clock then waits for it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._process = os.getpid()
        self._turn = threading.Condition(threading.Lock())
        self._calls: list[Call] = []
        self._numbers = itertools.count()
        self._sleeps_until = 0.0
        self._is_begun = False

    def call_at(self, at: float, work: Work) -> Call:
        """Call `work` at this time of the monotonic clock, or as soon as may be where it has passed."""
        if self._process != os.getpid():
            self._begin_anew()
        call = Call(at, next(self._numbers), work)
        with self._turn:
            heapq.heappush(self._calls, call)
            if not self._is_begun:
                self._is_begun = True
                threading.Thread(target=self._go, name=self._name, daemon=True).start()
            elif at < self._sleeps_until:
                self._turn.notify()
        return call

    def _go(self) -> None:
        while True:
            call = self._next()
            try:
                again = call.work()
            except Exception:  # noqa: BLE001
                # Whatever breaks is one stage's: the others still need this thread.
                _log.exception("what %s does at its time broke", self._name)
                again = None
            if again is not None and not call.is_off:
                with self._turn:
                    call.at = again
                    heapq.heappush(self._calls, call)

    def _next(self) -> Call:
        """What is due; waits until something is."""
        with self._turn:
            while True:
                while self._calls and self._calls[0].is_off:
                    heapq.heappop(self._calls)
                now = time.monotonic()
                if self._calls and self._calls[0].at <= now:
                    return heapq.heappop(self._calls)
                until = self._calls[0].at if self._calls else threading.TIMEOUT_MAX
                self._sleeps_until = until
                self._turn.wait(min(until - now, threading.TIMEOUT_MAX))
                self._sleeps_until = 0.0
