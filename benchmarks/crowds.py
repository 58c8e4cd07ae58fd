"""Rows of the two measurements that tell more than a row by themselves: a million lines, and 750 watchers."""

import signal
from collections.abc import Iterator

from benchmarks import volume, watchers
from benchmarks.table import Row
from tests.system.rivet_home import RivetHome

LINES_AIM_S, MEMORY_AIM_MIB, API_AIM_MS = 1.5, 60, 50.0


def of_lines(home: RivetHome) -> Iterator[Row]:
    told = volume.measure(home)["a_million_lines"]
    took, memory = told["submit_to_all_readable_s"]["median"], told["more_memory_mib"]
    yield Row(
        "10^6 lines of 100 bytes: submit → all readable", f"{took:.2f} s, {memory} MiB more memory",
        f"`cat` to a file: {told['cat_s']['median']:.2f} s", f"{told['ratio_to_cat']:.1f}",
        f"≤ {LINES_AIM_S} s, ≤ {MEMORY_AIM_MIB} MiB", took <= LINES_AIM_S and memory <= MEMORY_AIM_MIB,
    )  # fmt: skip


def of_watchers(home: RivetHome) -> Iterator[Row]:
    port, server = watchers.serve(home, home.folder)
    try:
        told = watchers.measure(home, port)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
    p95, whole = told["api_ms"]["p95"], told["complete"] == told["watchers"]
    yield Row(
        f"{told['watchers']} watchers of one run at 5 lines/s",
        f"{told['complete']} complete; API p95 {p95} ms, lines' lag p95 {told['lag_ms']['p95']} ms",
        f"API p95 without watchers: {told['api_ms_without_watchers']['p95']} ms",
        aim=f"all complete; API p95 ≤ {API_AIM_MS:.0f} ms", holds=whole and p95 <= API_AIM_MS,
    )  # fmt: skip
