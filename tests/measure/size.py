"""`python -m tests.measure.size --runs 1000 1000000`: what a busy system asks of its database, at several sizes.

A table of medians in milliseconds, side by side, and the last size's over the first one's.
"""

import argparse
import contextlib
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import zstandard

from rivet.sandbox.lua import Zygote
from rivet.store.unit import PostgresStore
from rivet.wiring.evaluator import LuaEvaluator
from rivet.wiring.schema import migrate

from ..conftest import PostgresServer
from .big_database import fill
from .hot_paths import Site, after_an_upgrade, paths

DAYS = 400
BODY = zstandard.compress(b"one line of a log\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.measure.size", description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[1000, 1_000_000])
    parser.add_argument("--times", type=int, default=9)
    asked = parser.parse_args()
    taken = _measured(asked.runs, asked.times)
    print("| what, milliseconds |" + "".join(f" {runs} runs |" for runs in taken) + " ratio |")
    print("| --- |" + " --- |" * (len(taken) + 1))
    for name in taken[asked.runs[0]]:
        medians = [statistics.median(times[name]) * 1000 for times in taken.values()]
        print(f"| {name} |" + "".join(f" {ms:.1f} |" for ms in medians) + f" {medians[-1] / medians[0]:.1f} |")
    return 0


Times = dict[str, list[float]]


def _measured(sizes: Sequence[int], times: int) -> dict[int, Times]:
    """Each path so often, the first round not counted; the sizes in turns, so that other work meets all alike."""
    taken: dict[int, Times] = {runs: {} for runs in sizes}
    with contextlib.ExitStack() as stack:
        sites = {}
        for runs in sizes:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="rivet-size-", dir="/tmp"))
            sites[runs] = stack.enter_context(_filled(Path(folder), runs))
        for each in range(times + 1):
            for runs, site in sites.items():
                found = _round(site)
                if each:
                    for name, seconds in found.items():
                        taken[runs].setdefault(name, []).append(seconds)
            _say(f"round {each} of {times}, load {os.getloadavg()[0]:.1f}")
    return taken


def _round(site: Site) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, do in itertools.chain(paths(site), after_an_upgrade(site)):
        began = time.perf_counter()
        do()
        found[name] = time.perf_counter() - began
    return found


@contextlib.contextmanager
def _filled(folder: Path, runs: int) -> Iterator[Site]:
    server = PostgresServer(folder)
    server.start()
    try:
        server.execute("CREATE DATABASE big")
        url = server.dsn("big")
        migrate(url)
        store = PostgresStore(url)
        began = time.monotonic()
        big = fill(store.engine, runs, days=DAYS, body=BODY, say=_say)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        _say(f"{runs} runs in {time.monotonic() - began:.0f} s, {size / 2**30:.1f} GiB on disk")
        with Zygote() as zygote:
            zygote.start()
            yield Site(store, big, LuaEvaluator(zygote))
        store.close()
    finally:
        server.stop()


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
