"""A month in minutes: runs of every day are written, and what is over its time goes, by the verbs of control.

    .venv/bin/python -m tests.measure.month --runs 100000

The clock is turned by giving the verbs another `now`. PostgreSQL's own clearing (VACUUM) is asked for once a day:
by itself it comes once a minute, which is never in such a month.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import text

from rivet.backup.archive import ArchiveReader
from rivet.backup.make import make_backup
from rivet.backup.restore import restore_backup
from rivet.blobs.stored import open_blobs
from rivet.domain.growth import Sample, bytes_a_day, full_at
from rivet.domain.retention import LOGS, RUNS, Keep
from rivet.engine.drop_days import drop_days
from rivet.engine.drop_old_runs import drop_old_runs
from rivet.engine.note_sizes import note_sizes
from rivet.engine.open_days import open_days
from rivet.store.sizes import SizeReads
from rivet.store.unit import PostgresStore
from tests.aged_runs import make_runs

KEEP = Keep(
    runs_days=20, logs_days=10, artifacts_days=5, artifacts_bytes=10**9, caches_days=5, caches_bytes=10**9,
    runners_days=30,
)
PIPELINES = 20
LOOKS_A_DAY = 4


@dataclass
class Month:
    """What was there at the end of each day, in bytes by group, and how long the verbs took at most."""

    sizes: list[dict[str, int]] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)
    samples: dict[str, Sequence[Sample]] = field(default_factory=dict)
    slowest_s: dict[str, float] = field(default_factory=dict)
    went: int = 0


def simulate(
    store: PostgresStore, runs_a_day: int, days: int, *, keep: Keep = KEEP, chunks: int = 3,
    pipelines: int = PIPELINES,
    say: Callable[[str], None] = lambda _: None,
) -> Month:
    month = Month()
    first = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for day in range(days):
        for look in range(LOOKS_A_DAY):
            began = first + timedelta(days=day, hours=24 / LOOKS_A_DAY * look)
            _timed(month, "open_days", lambda at=began: open_days(store=store, now=at))
            _runs_of(store, began, runs_a_day // LOOKS_A_DAY, chunks, pipelines)
            now = began + timedelta(hours=24 / LOOKS_A_DAY)
            _timed(month, "drop_days", lambda at=now: drop_days(keep.logs_days, store=store, now=at))
            month.went += _timed(
                month, "drop_old_runs", lambda at=now: drop_old_runs(keep.runs_days, store=store, now=at)
            )
            _timed(month, "note_sizes", lambda at=now: note_sizes({}, store=store, now=at))
        with store.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(text("VACUUM"))
        with store.engine.connect() as connection:
            month.runs.append(connection.execute(text("SELECT count(*) FROM run")).scalar_one())
            counted = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'record'::regclass"
            month.parts.append(connection.execute(text(counted)).scalar_one())
        month.sizes.append(dict(SizeReads(store.engine).measured()))
        say(f"day {day + 1}: {month.runs[-1]} runs, {month.parts[-1]} partitions, {month.sizes[-1]}")
    month.samples = dict(SizeReads(store.engine).samples(first - timedelta(days=1)))
    return month


def foretold(month: Month, by_day: int, until_day: int) -> float:
    """What the samples of the first `by_day` days said of the days until the disk would be full, over what it
    was: of a disk that was full at the end of `until_day`."""
    sums: dict[datetime, int] = {}
    for taken in month.samples.values():
        for at, size in taken:
            sums[at] = sums.get(at, 0) + size
    together = sorted(sums.items())
    known, then = together[: by_day * LOOKS_A_DAY], together[until_day * LOOKS_A_DAY - 1]
    now, size = known[-1]
    full = full_at(now, then[1] - size, bytes_a_day(known))
    assert full is not None
    return (full - now) / (then[0] - now)


def _runs_of(store: PostgresStore, began: datetime, count: int, chunks: int, pipelines: int) -> None:
    step = timedelta(hours=24 / LOOKS_A_DAY) / max(1, count)
    for pipeline in range(pipelines):
        starts = [began + step * place for place in range(pipeline, count, pipelines)]
        status = "failed" if pipeline % 5 == 0 else "passed"
        with store.engine.begin() as connection:
            make_runs(connection, starts, pipeline=f"p{pipeline}", status=status, chunks=chunks, width=400)


def _timed(month: Month, name: str, do: Callable[[], int | None]) -> int:
    began = time.monotonic()
    done = do() or 0
    month.slowest_s[name] = max(month.slowest_s.get(name, 0.0), time.monotonic() - began)
    return done


def _backed_up(folder: Path, url: str, elsewhere: str) -> str:
    """A backup of what is left, and its restore: how long each takes, and how much memory the most of it."""
    blobs, file = open_blobs("", folder / "blobs"), folder / "backup"
    began = time.monotonic()
    with file.open("wb") as out:
        made = make_backup(out, url, blobs, secret_key=None, told=_untold)
    backed_up = time.monotonic()
    archive = ArchiveReader(file)
    header = archive.verify(lambda _: None)
    verified = time.monotonic()
    restored = restore_backup(archive, header, elsewhere, blobs, told=_untold)
    done = time.monotonic()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return (
        f"backup: {made.runs} runs, {made.bytes} bytes of rows, file of {file.stat().st_size}, in "
        f"{backed_up - began:.1f} s; verified in {verified - backed_up:.1f} s; {restored.runs} runs restored in "
        f"{done - verified:.1f} s; {memory} MiB of memory at most, simulation included"
    )


def _untold(_name: str, _count: int) -> None:
    """Nobody looks at the progress."""


def main() -> int:
    from rivet.wiring.schema import migrate
    from tests.conftest import PostgresServer

    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--runs", type=int, default=100_000)
    asked.add_argument("--days", type=int, default=30)
    given = asked.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rivet-month-") as folder:
        server = PostgresServer(Path(folder))
        server.start()
        try:
            server.execute("CREATE DATABASE month")
            migrate(server.dsn("month"))
            store = PostgresStore(server.dsn("month"))
            month = simulate(store, given.runs // given.days, given.days, say=print)
            store.close()
            server.execute("CREATE DATABASE elsewhere")
            print(_backed_up(Path(folder), server.dsn("month"), server.dsn("elsewhere")))
        finally:
            server.stop()
    print(f"in {time.monotonic() - began:.0f} s; {month.went} runs went")
    print("slowest:", {name: f"{s:.2f} s" for name, s in month.slowest_s.items()})
    print(f"logs: most {max(day[LOGS] for day in month.sizes)}, last {month.sizes[-1][LOGS]}")
    print(f"runs: most {max(day[RUNS] for day in month.sizes)}, last {month.sizes[-1][RUNS]}")
    for by_day, until_day in ((2, 4), (4, 8), (5, 10)):
        said = foretold(month, by_day, until_day)
        print(f"on day {by_day} it was said that a disk full on day {until_day} is full after {said:.3f} of that")
    return 0


if __name__ == "__main__":
    sys.exit(main())
