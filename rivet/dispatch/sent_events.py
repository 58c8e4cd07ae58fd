"""That messages were sent, told as Celery's events, several in a message: it may be a tenth of a second late.

Sent one by one they were a tenth of what a slot does. What waits when its process ends is not told.
"""

import logging
import time
from typing import Any

import redis
from celery import Celery
from celery.events import Event, EventDispatcher
from kombu.exceptions import OperationalError

from rivet.clock import Clock

GATHER_S = 0.1

_log = logging.getLogger(__name__)
_CLOCK = Clock("sent-events")


def name_of_stage(key: str) -> str:
    """What a stage's link is called where people look."""
    return f"run_stage[{key}]"


def gather_sent_events(app: Celery) -> None:
    """For the messages that this process publishes by the app. One that was forked from it asks anew."""
    app.amqp._event_dispatcher = SentEvents(app=app, enabled=False, buffer_while_offline=False)


class SentEvents(EventDispatcher):  # type: ignore[misc]
    """Sends from a thread of its own. Where Redis takes nothing, what was sent is not told."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._waiting: list[Any] = []

    def publish(
        self, type: str, fields: Any, producer: Any, blind: bool = False, Event: Any = Event, **_: Any
    ) -> None:
        # This may be heard after what its worker says of it, whose name for it must stay.
        told = {**fields, "name": _shown_name(fields["uuid"], fields["name"])}
        event = self._prepare_event(type, told, blind=blind, Event=Event)
        with self.mutex:
            self._waiting.append(event)
            is_first = len(self._waiting) == 1
        if is_first:
            _CLOCK.call_at(time.monotonic() + GATHER_S, self.send_waiting)

    def send_waiting(self) -> None:
        with self.mutex:
            events, self._waiting = self._waiting, []
        try:
            with self.app.producer_or_acquire() as producer:
                self._publish(events, producer, routing_key="task.multi")
        except (OperationalError, redis.RedisError, OSError) as error:
            _log.info("%d events of sent messages are not told: %s", len(events), error)


def _shown_name(task_id: str, name: str) -> str:
    """The id of a stage's link says which stage it is: `s:JOB:EPOCH:KEY`."""
    match task_id.split(":", 3):
        case ["s", _, _, key]:
            return name_of_stage(key)
    return name
