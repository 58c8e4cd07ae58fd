"""Drain a runner: SIGTERM makes it leave the shared queues and finish what it holds; a second one hurries.

Celery's own warm shutdown ends after the running stages, in the middle of their jobs. So ours comes first,
and Celery's when nothing is held any more.
"""

import logging
import os
import signal
from collections.abc import Callable
from typing import Any

from celery.worker import state

from rivet.domain.errors import Unavailable

_log = logging.getLogger(__name__)


class Drain:
    """Of one worker's parent. `waiting` tells the length of the runner's own queue; may raise Unavailable."""

    def __init__(self, worker: Any, own_queue: str, waiting: Callable[[], int]) -> None:
        self._worker, self._own, self._waiting = worker, own_queue, waiting
        self._asked = False
        self._left = False
        self._idle_looks = 0

    @property
    def is_asked(self) -> bool:
        return self._asked

    def install(self) -> None:
        """Take SIGTERM over. Call it once Celery has installed its own handlers, in the main thread."""
        signal.signal(signal.SIGTERM, self._on_term)

    def _on_term(self, *_: object) -> None:
        if self._asked:
            os.kill(os.getpid(), signal.SIGQUIT)
        self._asked = True

    def look(self) -> None:
        """One look, from the worker's timer: leave the shared queues, then stop when nothing is held."""
        if not self._asked:
            return
        if not self._left:
            self._left = True
            _log.warning("draining: what is held is finished, nothing new is taken")
            for queue in list(self._worker.app.amqp.queues.consume_from):
                if queue != self._own:
                    self._worker.consumer.cancel_task_queue(queue)
        self._idle_looks = self._idle_looks + 1 if self._is_idle() else 0
        # A link publishes its successor before it ends: two idle looks mean that none is on its way.
        if self._idle_looks >= 2:
            state.should_stop = os.EX_OK

    def _is_idle(self) -> bool:
        if state.reserved_requests:
            return False
        try:
            return self._waiting() == 0
        except Unavailable:
            return False
