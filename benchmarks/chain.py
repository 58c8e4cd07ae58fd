"""One stage more in a job, beside a link more in a raw Celery chain: `python -m benchmarks.chain`.

Jobs of 1 and of 41 stages that do nothing, and chains of 2 and of 42 links, in turns; the difference of the
medians, divided by 40.
"""

from collections.abc import Iterator
from statistics import median

from benchmarks.floor import raw_celery, take_turns
from benchmarks.pipelines import stages_of
from benchmarks.system import alone, seconds_of
from benchmarks.table import Row, ms
from tests.system.rivet_home import RivetHome

MORE = 40
TIMES = 7
AIM = 6.0


def rows(home: RivetHome) -> Iterator[Row]:
    one, many = (stages_of(f"Nothing {count}", count, "") for count in (1, 1 + MORE))
    with raw_celery(home) as celery:
        seconds_of(home, "nothing-1", one)
        taken = take_turns(
            TIMES,
            one=lambda: seconds_of(home, "nothing-1", one),
            many=lambda: seconds_of(home, f"nothing-{1 + MORE}", many),
            link=lambda: celery.seconds_of_chains(1, 2),
            links=lambda: celery.seconds_of_chains(1, 2 + MORE),
        )
    stage = (median(taken["many"]) - median(taken["one"])) / MORE
    link = (median(taken["links"]) - median(taken["link"])) / MORE
    yield Row(
        "one no-op stage more in a job",
        ms(stage),
        f"a link of a raw Celery chain: {ms(link)}",
        f"{stage / link:.1f}",
        f"≤ {AIM:g} ×",
        stage <= AIM * link,
    )


if __name__ == "__main__":
    alone(rows)
