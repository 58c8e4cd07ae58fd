"""A whole system of its own for a measurement, and what several of them do with it."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psycopg2

from benchmarks.table import Row, show
from tests.system.rivet_home import RivetHome


@contextlib.contextmanager
def a_system() -> Iterator[RivetHome]:
    """As `rivet up` makes it, with Flower; ended and deleted afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="rvb"))
    folder.chmod(0o755)
    home = RivetHome(folder)
    try:
        home.up()
        yield home
    finally:
        home.down()
        shutil.rmtree(folder, ignore_errors=True)


def alone(measured: Callable[[RivetHome], Iterable[Row]]) -> None:
    """One measurement by itself, on a system of its own."""
    with a_system() as home:
        show(measured(home))


def run_all(home: RivetHome, slug: str, lua: str, count: int) -> float:
    """Seconds from the first submission over HTTP, by 8 threads, to the end of the last run: all must pass."""
    with psycopg2.connect(home.database_url()) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        begun = time.perf_counter()
        ids = home.submit_at_once(slug, lua, count)
        cursor.execute("PREPARE open AS SELECT count(*) FROM run WHERE id = ANY($1::uuid[]) AND ended_at IS NULL")
        while True:
            cursor.execute("EXECUTE open (%s::uuid[])", (ids,))
            if cursor.fetchone() == (0,):
                break
            time.sleep(0.05)
        taken = time.perf_counter() - begun
        cursor.execute("SELECT count(*) FROM run WHERE id = ANY(%s::uuid[]) AND status = 'passed'", (ids,))
        assert cursor.fetchone() == (count,)
    return taken


def seconds_of(home: RivetHome, slug: str, lua: str) -> float:
    """How long a run takes by the database's clock, from its first claim to its end."""
    run = home.submit(slug, lua)
    for event in home.events(run):
        if event.type == "end":
            assert event.data["run"]["status"] == "passed", event.data["run"]["reason"]
    [(taken,)] = home.query("SELECT extract(epoch FROM ended_at - started_at) FROM run WHERE id = %s", run)
    return float(taken)
