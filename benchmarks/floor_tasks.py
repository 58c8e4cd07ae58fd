"""The floor: a plain Celery app whose tasks do nothing, on the broker that the system uses."""

import os

from celery import Celery

app = Celery("floor", broker=os.environ["RIVET_BROKER_URL"])
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    worker_send_task_events=True,
    task_default_queue="floor",
    broker_transport_options={"unacked_key": "floor-unacked", "unacked_index_key": "floor-unacked-index"},
)


@app.task(name="floor.nothing", ignore_result=True)
def nothing(_previous: object = None) -> None:
    """A link that does nothing."""


@app.task(name="floor.last", ignore_result=True)
def last(_previous: object, key: str) -> None:
    """The last link: counts that its chain has come through."""
    app.connection_for_write().default_channel.client.incr(key)
