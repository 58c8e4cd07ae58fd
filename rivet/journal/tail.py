"""The live tail: entries go out over Redis after their commit, to whoever watches their run.

It may lose what it carries; those who watch notice a gap by position and read the database.
"""

import base64
import contextlib
import json
import logging
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import redis

from rivet.domain.ids import Epoch, JobId, RunId, StageKey
from rivet.engine.ports import Entry
from rivet.redis_link import connect

MAX_WAITING = 1000
"""Batches that wait for one watcher; more are dropped, and it reads the database."""
MOST_AT_ONCE = 64
"""Entries that make a batch, if so many are there."""
WOKEN_AT_ONCE, PAUSE_S = 8, 0.001
"""Watchers are threads. Woken all at once they would keep every other request from its turn."""

_log = logging.getLogger(__name__)


def channel_of(run: RunId) -> str:
    return f"live:{run}"


class TailPublisher:
    def __init__(self, broker_url: str) -> None:
        self._redis: redis.Redis = connect(broker_url, timeout_s=2.0)

    def publish(self, entries: Sequence[Entry]) -> None:
        """Raises redis.RedisError; nothing is lost by it."""
        pipe = self._redis.pipeline(transaction=False)
        for entry in entries:
            pipe.publish(channel_of(entry.run_id), _packed(entry))
        pipe.execute()


class Watch:
    """What arrives for one run, from the moment of watching on."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Sequence[Entry]] = queue.SimpleQueue()

    def put(self, entries: Sequence[Entry]) -> None:
        if self._waiting.qsize() < MAX_WAITING:
            self._waiting.put(entries)

    def get(self, timeout_s: float) -> list[Entry]:
        """What has arrived; waits at most `timeout_s` for something."""
        got: list[Entry] = []
        with contextlib.suppress(queue.Empty):
            got += self._waiting.get(timeout=timeout_s)
            while True:
                got += self._waiting.get_nowait()
        return got


class LiveTail:
    """One subscriber a process, fanning out to its watchers."""

    def __init__(self, broker_url: str) -> None:
        self._redis: redis.Redis = connect(broker_url)
        self._watches: dict[str, list[Watch]] = {}
        self._guard = threading.Lock()
        self._pubsub: Any = None
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def watch(self, run: RunId) -> Iterator[Watch]:
        watch, channel = Watch(), channel_of(run)
        with self._guard:
            self._start()
            self._watches.setdefault(channel, []).append(watch)
            self._tell("subscribe", channel)
        try:
            yield watch
        finally:
            with self._guard:
                others = self._watches[channel]
                others.remove(watch)
                if not others:
                    del self._watches[channel]
                    self._tell("unsubscribe", channel)

    def _tell(self, verb: str, channel: str) -> None:
        """A broken connection is mended by the listening thread, which subscribes to everything anew."""
        with contextlib.suppress(redis.RedisError):
            if self._pubsub is not None:
                getattr(self._pubsub, verb)(channel)

    def _start(self) -> None:
        if self._thread is None:
            self._pubsub = self._subscribed()
            self._thread = threading.Thread(target=self._listen, name="live-tail", daemon=True)
            self._thread.start()

    def _subscribed(self) -> Any:
        pubsub: Any = self._redis.pubsub()  # type: ignore[no-untyped-call]
        # A channel nobody publishes to keeps the connection in subscribed state from the start.
        with contextlib.suppress(redis.RedisError):
            pubsub.subscribe("live", *self._watches)
        return pubsub

    def _listen(self) -> None:
        while True:
            try:
                by_channel = self._batch()
            except (redis.RedisError, OSError, ValueError) as error:
                _log.warning("the live tail lost Redis and subscribes again: %s", error)
                time.sleep(0.5)
                with self._guard:
                    self._pubsub = self._subscribed()
                continue
            for channel, batch in by_channel.items():
                self._pass_on(channel, batch)

    def _batch(self) -> dict[str, list[bytes]]:
        """What has been published, by channel; waits a second for something. Raises redis.RedisError."""
        found: dict[str, list[bytes]] = {}
        timeout_s = 1.0
        for _ in range(MOST_AT_ONCE):
            message = self._pubsub.get_message(timeout=timeout_s)
            if message is None:
                break
            if message["type"] == "message":
                found.setdefault(message["channel"].decode(), []).append(message["data"])
            timeout_s = 0.0
        return found

    def _pass_on(self, channel: str, batch: list[bytes]) -> None:
        with self._guard:
            watches = list(self._watches.get(channel, ()))
        if not watches:
            return
        entries = [_unpacked(packed) for packed in batch]
        for place, watch in enumerate(watches, 1):
            watch.put(entries)
            if place % WOKEN_AT_ONCE == 0:
                time.sleep(PAUSE_S)


def _packed(entry: Entry) -> bytes:
    return json.dumps({
        "run": str(entry.run_id),
        "pos": entry.pos,
        "type": entry.type,
        "at": entry.at,
        "job": None if entry.job_id is None else str(entry.job_id),
        "epoch": entry.epoch,
        "seq": entry.seq,
        "stage": entry.stage,
        "attempt": entry.attempt,
        "late": entry.late,
        "data": dict(entry.data),
        "body": base64.b64encode(entry.body).decode(),
    }).encode()


def _unpacked(packed: bytes) -> Entry:
    told = json.loads(packed)
    return Entry(
        run_id=RunId(UUID(told["run"])),
        pos=told["pos"],
        type=told["type"],
        at=told["at"],
        job_id=None if told["job"] is None else JobId(UUID(told["job"])),
        epoch=None if told["epoch"] is None else Epoch(told["epoch"]),
        seq=told["seq"],
        stage=None if told["stage"] is None else StageKey(told["stage"]),
        attempt=told["attempt"],
        late=told["late"],
        data=told["data"],
        body=base64.b64decode(told["body"]),
    )
