"""`python -m tests.measure --times N`: every latency so often, and a table of median and worst."""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ..system.rivet_home import RivetHome
from . import outages, stops
from .site import Site

APART_S = 13.0
"""Between two kills of the same part: `rivet up` gives one up that falls more than five times a minute."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.measure", description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--only", action="append", help="the latencies whose names begin so (repeatable)")
    asked = parser.parse_args()
    measures = {
        name: measure
        for name, measure in {**stops.MEASURES, **outages.MEASURES}.items()
        if asked.only is None or name.startswith(tuple(asked.only))
    }
    folder = Path(tempfile.mkdtemp(prefix="rvm"))
    folder.chmod(0o755)
    home = RivetHome(folder)
    taken: dict[str, list[float]] = {name: [] for name in measures}
    try:
        home.up()
        site = Site(home)
        for _ in range(asked.times):
            _once(site, measures, taken)
    finally:
        home.down()
        shutil.rmtree(folder, ignore_errors=True)
    print("| latency, seconds | median | worst | times |\n| --- | --- | --- | --- |")
    for name, times in taken.items():
        print(f"| {name} | {statistics.median(times):.2f} | {max(times):.2f} | {len(times)} |")
    return 0


def _once(site: Site, measures: dict[str, Callable[[Site], float]], taken: dict[str, list[float]]) -> None:
    """Each latency in turn, so that the same part is not killed again at once."""
    began = time.monotonic()
    for name, measure in measures.items():
        taken[name].append(measure(site))
        print(f"{name}: {taken[name][-1]:.3f} s", file=sys.stderr, flush=True)
    time.sleep(max(0.0, APART_S - (time.monotonic() - began)))


if __name__ == "__main__":
    sys.exit(main())
