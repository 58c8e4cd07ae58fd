"""Redis as our own parts use it: connections with bounded waits, and the keys that two parts share."""

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from rivet.domain.ids import JobId, StageKey


def cancel_key(job: JobId, stage: StageKey | None = None) -> str:
    """Set by whoever cancels a run, or one `stage` of it; watched by the job's supervisor."""
    return f"cancel:{job}" if stage is None else f"cancel:{job}:{stage}"


def stream_of(runner: str) -> str:
    """The journal that a runner writes."""
    return f"journal:{runner}"


def ack_of(runner: str) -> str:
    """How far control has taken in the journals of a runner's jobs."""
    return f"ack:{runner}"


def cut_off_of(runner: str) -> str:
    """What a runner says where no API answers it."""
    return f"cut_off:{runner}"


def connect(broker_url: str, *, timeout_s: float = 5.0) -> redis.Redis:
    """A client whose every wait ends after `timeout_s` seconds.

    `redis+socket:///path?virtual_host=0`, as Celery writes a Unix socket, is understood too.
    """
    if broker_url.startswith("redis+socket://"):
        path, _, query = broker_url.removeprefix("redis+socket://").partition("?")
        options = dict(part.partition("=")[::2] for part in query.split("&"))
        db = options.get("virtual_host", "0")
        broker_url = f"unix://{path}?db={db}"
    return redis.Redis.from_url(
        broker_url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )
