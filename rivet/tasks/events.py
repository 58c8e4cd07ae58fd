"""What a worker tells of its tasks, several events in a message: it may be a tenth of a second late.

Celery gathers events only until its loop comes round, which is two messages a task; they were a third of
what a runner's parent does. What waits when the worker ends is not told.
"""

from typing import Any

GATHER_S = 0.1


def gather_events(consumer: Any) -> None:
    """Of a consumer that is ready."""
    is_due = False

    def send() -> None:
        nonlocal is_due
        is_due = False
        if consumer.event_dispatcher is not None:
            consumer.event_dispatcher.flush()

    def send_soon() -> None:
        nonlocal is_due
        if not is_due:
            is_due = True
            consumer.timer.call_after(GATHER_S, send)

    # The first is for dispatchers to come, after a connection was lost.
    consumer.on_send_event_buffered = send_soon
    consumer.event_dispatcher.on_send_buffered = send_soon
