"""A paused runner leaves the shared queues, goes on with what it holds, and comes back when it is resumed."""

import logging
from collections.abc import Callable
from typing import Any

_log = logging.getLogger(__name__)


class Pausing:
    """Of one worker's parent, who looks now and then whether it `is_paused`. Who drains never comes back."""

    def __init__(self, worker: Any, own_queue: str, is_paused: Callable[[], bool]) -> None:
        self._worker, self._own, self._is_paused = worker, own_queue, is_paused
        self._left: list[str] = []

    def look(self) -> None:
        if self._is_paused() and not self._left:
            self._leave()
        elif self._left and not self._is_paused():
            self._come_back()

    def _leave(self) -> None:
        self._left = [name for name in self._worker.app.amqp.queues.consume_from if name != self._own]
        if self._left:
            _log.warning("paused: what is held is finished, nothing new is taken until it is resumed")
        for queue in self._left:
            self._worker.consumer.cancel_task_queue(queue)

    def _come_back(self) -> None:
        _log.warning("resumed: jobs are taken again")
        for queue in self._left:
            self._worker.consumer.add_task_queue(queue)
        # Unless it is selected anew it is not consumed from after a reconnect. The own queue comes first.
        self._worker.app.amqp.queues.select([self._own, *self._left])
        self._left = []
