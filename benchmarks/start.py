"""How long `rivet up` takes on a home that it has made before, and what an idle system has in memory: `python -m benchmarks.start`.

Memory is the proportional share (PSS) of all its processes: the supervisor and its warden with the parts and all
that these started. It is looked at 5 s after the start, and again after 40 runs of a command.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median

import psutil

from benchmarks.pipelines import COMMAND
from benchmarks.system import alone, run_all
from benchmarks.table import Row
from tests.system.rivet_home import RivetHome

TIMES = 5
QUIET_S = 5.0
READY_AIM_S, IDLE_AIM_MIB = 2.0, 300.0


def rows(home: RivetHome) -> Iterator[Row]:
    taken = [again(home) for _ in range(TIMES)]
    home.up()
    yield Row(
        "`rivet up` again, to ready", f"{median(taken):.2f} s ({min(taken):.2f} – {max(taken):.2f} s)",
        aim=f"≤ {READY_AIM_S:.1f} s", holds=median(taken) <= READY_AIM_S,
    )  # fmt: skip
    time.sleep(QUIET_S)
    fresh = pss_mib(home)
    run_all(home, "command", COMMAND, 40)
    time.sleep(QUIET_S)
    warm = pss_mib(home)
    told = ", ".join(f"{part} {mib:.0f}" for part, mib in sorted(warm.items(), key=lambda each: -each[1]))
    for name, of in (("fresh", fresh), ("after 40 runs", warm)):
        whole, flower = sum(of.values()), of["flower"]
        yield Row(
            f"idle PSS without Flower, {name}", f"{whole - flower:.0f} MiB (with Flower {whole:.0f} MiB)",
            aim=f"≤ {IDLE_AIM_MIB:.0f} MiB", holds=whole - flower <= IDLE_AIM_MIB,
        )  # fmt: skip
    yield Row("of that, by part, after 40 runs", f"{told} MiB")


def again(home: RivetHome) -> float:
    """End it, and start it anew in the foreground: seconds until it says that it is up."""
    home.down()
    begun = time.perf_counter()
    process = home.start_cli("up", "--port", "0", "--flower-port", "0", "--slots", str(home.slots))
    assert process.stdout is not None
    taken = next(time.perf_counter() - begun for line in process.stdout if line.startswith("Rivet is up"))
    process.terminate()
    process.communicate(timeout=60)
    return taken


def pss_mib(home: RivetHome) -> Mapping[str, float]:
    """By part. What is no part's is `rivet up` itself."""
    supervisor = psutil.Process(home.status()["pid"])
    parts = {name: home.pid(name) for name in ("postgresql", "redis", "api", "control", "runner", "flower")}
    found: dict[str, float] = {}
    of_parts: set[int] = set()
    for name, pid in parts.items():
        processes = _tree(psutil.Process(pid))
        of_parts |= {process.pid for process in processes}
        found[name] = sum(map(_pss_mib, processes))
    found["rivet up"] = sum(_pss_mib(each) for each in _tree(supervisor) if each.pid not in of_parts)
    return found


def _tree(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _pss_mib(process: psutil.Process) -> float:
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    except (OSError, psutil.NoSuchProcess):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


if __name__ == "__main__":
    alone(rows)
