"""How late a line is that a process writes, for a reader of the events: `python -m benchmarks.lag`.

The line is the time at which it was written. It is read quietly, and while a run in the other slot writes lines of
100 bytes as fast as it can.
"""

import time
from collections.abc import Iterator
from statistics import median

from benchmarks.system import alone
from benchmarks.table import Row, ms
from tests.system.rivet_home import RivetHome

QUIET, BESIDE = 200, 1000
PAUSE_S = 0.015
MEDIAN_AIM_S, WORST_AIM_S = 0.010, 0.100
_TELL = "import time\nfor n in range({count}):\n    time.sleep({pause})\n    print(time.time(), flush=True)\n"
_FLOOD = (
    'pipeline = {{ name = "Flood", stages = {{ {{ name = "s", script = function() '
    'process.run{{ command = "sh", args = {{ "-c", "yes {line}" }} }} end }} }} }}'
).format(line="x" * 99)


def rows(home: RivetHome) -> Iterator[Row]:
    late_by(home, 20)
    quiet = late_by(home, QUIET)
    yield Row(
        f"live lag of a line, quiet: median of {QUIET}", f"{ms(median(quiet))} (worst {ms(max(quiet))})",
        aim=f"≤ {ms(MEDIAN_AIM_S)}", holds=median(quiet) <= MEDIAN_AIM_S,
    )  # fmt: skip
    flood = home.submit("flood", _FLOOD)
    home.when(flood, lambda run: run["lines"] > 10_000)
    beside = late_by(home, BESIDE)
    home.client.call("POST", f"/runs/{flood}/cancel")
    lines = home.finish(flood)["lines"]
    yield Row(
        f"live lag of a line, beside a flood ({lines} lines): worst of {BESIDE}",
        f"{ms(max(beside))} (median {ms(median(beside))})",
        aim=f"≤ {ms(WORST_AIM_S)}", holds=max(beside) <= WORST_AIM_S,
    )  # fmt: skip


def late_by(home: RivetHome, count: int) -> list[float]:
    """Of each line, in seconds, between its writing and its reading on this machine."""
    code = _TELL.format(count=count, pause=PAUSE_S).replace("\n", "\\n")
    lua = (
        'pipeline = { name = "Lag", stages = { { name = "s", script = function() '
        f'process.run{{ command = "python3", args = {{ "-c", "{code}" }} }} end }} }} }}'
    )
    late: list[float] = []
    for event in home.events(home.submit("lag", lua)):
        now = time.time()
        if event.type == "log":
            late += [now - float(line["text"]) for line in event.data["lines"] if line["stream"] == "stdout"]
    assert len(late) == count, (len(late), count)
    return late


if __name__ == "__main__":
    alone(rows)
