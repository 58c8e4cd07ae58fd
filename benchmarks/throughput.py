"""200 one-stage runs at once over HTTP on 2 slots, beside raw Celery chains of 3 links: `python -m benchmarks.throughput`.

Celery's events are on in both, and Flower reads them.
"""

from collections.abc import Iterator
from statistics import median

from benchmarks.floor import raw_celery, take_turns
from benchmarks.pipelines import COMMAND, HELLO
from benchmarks.system import alone, run_all
from benchmarks.table import Row
from tests.system.rivet_home import RivetHome

COUNT = 200
TIMES = 3


def rows(home: RivetHome) -> Iterator[Row]:
    with raw_celery(home) as celery:
        for slug, lua in (("hello", HELLO), ("command", COMMAND)):
            run_all(home, slug, lua, 20)
        taken = take_turns(
            TIMES,
            command=lambda: run_all(home, "command", COMMAND, COUNT),
            log=lambda: run_all(home, "hello", HELLO, COUNT),
            floor=lambda: celery.seconds_of_chains(COUNT, 3),
        )
    floor = a_minute(taken["floor"])
    for name, work, aim in (
        ("command", "200 runs at once with `process.run true`", 1500),
        ("log", "200 runs at once that only log", 2000),
    ):
        ours = a_minute(taken[name])
        yield Row(
            work, f"{ours:.0f} a minute", f"raw chains of 3 links: {floor:.0f} a minute", f"{floor / ours:.1f}",
            f"≥ {aim} a minute", ours >= aim,
        )  # fmt: skip


def a_minute(seconds: object) -> float:
    return COUNT / median(seconds) * 60  # type: ignore[call-overload]


if __name__ == "__main__":
    alone(rows)
