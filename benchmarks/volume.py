"""Measure a flood: `python -m benchmarks.volume`.

A million lines of 100 bytes from one process: from the submission until the run has ended and all of them can be
read, how much more memory all parts take meanwhile, and how long reading them back takes; beside `cat` of the same
bytes to a file.
"""

import json
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from benchmarks.system import a_system
from tests.system.rivet_home import RivetHome

LINES, ROUNDS, LOOK_S = 1_000_000, 5, 0.02
MIB = 1024 * 1024
LUA = f"""
pipeline = {{ name = "Flood", stages = {{ {{ name = "s", script = function()
  process.run{{ command = "seq", args = {{ "-f", "%099.0f", "0", "{LINES - 1}" }} }}
end }} }} }}
"""


def main() -> None:
    with a_system() as home:
        json.dump(measure(home), sys.stdout, indent=2)
    sys.stdout.write("\n")


def measure(home: RivetHome) -> dict[str, object]:
    text = home.folder / "flood"
    text.write_bytes(b"".join(b"%099d\n" % number for number in range(LINES)))
    flood(home)
    floors, took, grown, back = [], [], [], []
    for _ in range(ROUNDS):
        floors.append(cat(text))
        seconds, more, run_id = flood(home)
        took.append(seconds)
        grown.append(more)
        begun = time.perf_counter()
        size = sum(len(block) for block in home.client.blocks(f"/runs/{run_id}/logs"))
        back.append(time.perf_counter() - begun)
        assert size == 100 * LINES, size
    return {
        "a_million_lines": {
            "submit_to_all_readable_s": _spread(took),
            "cat_s": _spread(floors),
            "seq_alone_s": _spread([seq() for _ in range(ROUNDS)]),
            "ratio_to_cat": round(statistics.median(took) / statistics.median(floors), 1),
            "more_memory_mib": round(max(grown) / MIB),
            "read_back_s": _spread(back),
        }
    }


def flood(home: RivetHome) -> tuple[float, int, str]:
    """Seconds, bytes of memory more, and the run."""
    parts = [psutil.Process(home.pid(name)) for name in ("api", "control", "runner", "redis", "postgresql")]
    everyone = [each for part in parts for each in (part, *part.children())]
    over, most, before = threading.Event(), 0, _own(everyone)

    def look() -> None:
        nonlocal most
        while not over.wait(LOOK_S * 5):
            most = max(most, _own(everyone) - before)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    begun = time.perf_counter()
    run_id = home.submit("flood", LUA)
    while (run := home.run(run_id))["ended_at"] is None:
        time.sleep(LOOK_S)
    taken = time.perf_counter() - begun
    over.set()
    watcher.join()
    assert (run["status"], run["lines"]) == ("passed", LINES), run
    return taken, most, run_id


def cat(text: Path) -> float:
    begun = time.perf_counter()
    with text.with_suffix(".copy").open("wb") as copy:
        subprocess.run(["cat", str(text)], stdout=copy, check=True)
    return time.perf_counter() - begun


def seq() -> float:
    begun = time.perf_counter()
    subprocess.run(["seq", "-f", "%099.0f", "0", str(LINES - 1)], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


def _own(processes: list[psutil.Process]) -> int:
    """Bytes that are theirs alone; one that has ended has none."""
    size = 0
    for process in processes:
        try:
            size += process.memory_full_info().uss
        except psutil.NoSuchProcess:
            continue
    return size


def _spread(seconds: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(seconds), 2), "min": round(min(seconds), 2), "max": round(max(seconds), 2)
    }  # fmt: skip


if __name__ == "__main__":
    main()
