"""Floors: raw Celery on the same Redis with as many slots, and processes that are started by nobody but us."""

import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence

import redis

from tests.system.rivet_home import RivetHome

LOOK_S = 0.001


class RawCelery:
    """A worker whose tasks do nothing, and its chains. Celery's events are on, as they are for ours."""

    def __init__(self, broker: str) -> None:
        os.environ["RIVET_BROKER_URL"] = broker
        from benchmarks.floor_tasks import last, nothing

        self._last, self._nothing = last, nothing
        self._redis = redis.Redis.from_url(broker)

    def seconds_of_chains(self, count: int, links: int) -> float:
        """Until the last of `count` chains of so many links has come through."""
        key = f"floor:{uuid.uuid4().hex}"
        begun = time.perf_counter()
        for _ in range(count):
            chain = self._nothing.s()
            for _ in range(links - 2):
                chain |= self._nothing.s()
            (chain | self._last.s(key)).apply_async()
        while int(self._redis.get(key) or 0) < count:
            time.sleep(LOOK_S)
        taken = time.perf_counter() - begun
        self._redis.delete(key)
        return taken


@contextlib.contextmanager
def raw_celery(home: RivetHome) -> Iterator[RawCelery]:
    broker = home.told("runner")["RIVET_BROKER_URL"]
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "benchmarks.floor_tasks", "worker", "-c", str(home.slots), "-E",
         "-Q", "floor", "-n", "floor@%h", "--without-gossip", "--without-mingle", "--loglevel", "error"],
        env=os.environ | {"RIVET_BROKER_URL": broker},
    )  # fmt: skip
    try:
        celery = RawCelery(broker)
        celery.seconds_of_chains(4, 3)
        yield celery
    finally:
        worker.terminate()
        worker.wait(20)


def seconds_of_process(*argv: str) -> float:
    """From its start to its end. Raises CalledProcessError if it fails."""
    begun = time.perf_counter()
    subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, timeout=60)
    return time.perf_counter() - begun


def take_turns(times: int, **works: object) -> dict[str, Sequence[float]]:
    """Each of the works, one after the other, so many times: what they return, by their names."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(times):
        for name, work in works.items():
            taken[name].append(work())  # type: ignore[operator]
    return dict(taken)
