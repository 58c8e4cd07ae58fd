"""What one run costs each part: `python -m benchmarks.one_run`.

Processor time of every process beneath a part, of those too that ended meanwhile, over runs of one stage that are
submitted at once over HTTP; divided by their number. Noise of other work moves it less than it moves the clock.
"""

import os
from collections.abc import Mapping

import psutil

from benchmarks.pipelines import CHAIN, COMMAND, HELLO
from benchmarks.system import a_system, run_all
from tests.system.rivet_home import RivetHome

COUNT = 200
PARTS = ("postgresql", "redis", "api", "control", "runner", "flower")


def main() -> None:
    with a_system() as home:
        show(home)


def show(home: RivetHome) -> None:
    """Print a table: a line a part, a column a kind of run."""
    kinds = {"logs": (HELLO, COUNT), "one command": (COMMAND, COUNT), "20 stages": (CHAIN, COUNT // 20)}
    told = {}
    for name, (lua, count) in kinds.items():
        slug = lua.rpartition('name = "')[2].partition('"')[0].lower()
        run_all(home, slug, lua, 20)
        told[name] = spent_ms(home, slug, lua, count)
    print(f"| processor time of a run, ms | {' | '.join(kinds)} |")
    print("| --- |" + " --- |" * len(kinds))
    for part in next(iter(told.values())):
        print(f"| {part} | " + " | ".join(f"{told[name][part]:.1f}" for name in kinds) + " |")


def spent_ms(home: RivetHome, slug: str, lua: str, count: int) -> dict[str, float]:
    before = spent_s(home)
    wall_s, after = run_all(home, slug, lua, count), spent_s(home)
    ms = {part: (after[part] - before[part]) * 1000 / count for part in after}
    return {**ms, "all": sum(ms.values()), "by the clock": wall_s * 1000 / count}


def spent_s(home: RivetHome) -> Mapping[str, float]:
    """Processor seconds since the start, by part; the runner's are told apart by process."""
    ours = os.times()
    spent = {part: _of_tree(psutil.Process(home.pid(part))) for part in PARTS if part != "runner"}
    spent["who submits"] = ours.user + ours.system
    runner = psutil.Process(home.pid("runner"))
    slots = home.slots_of(runner.pid)
    spent["runner: slots"] = sum(_of_one(slot) for slot in slots)
    spent["runner: Lua, rooms"] = sum(_of_ended(slot) for slot in slots) + sum(
        _of_tree(child) for slot in slots for child in slot.children()
    )
    spent["runner: spooler"] = sum(_of_tree(child) for child in runner.children() if child not in slots)
    spent["runner: parent"] = _of_one(runner)
    return spent


def _of_one(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _of_ended(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.children_user + times.children_system)


def _of_tree(process: psutil.Process) -> float:
    try:
        return _of_one(process) + _of_ended(process) + sum(_of_tree(child) for child in process.children())
    except psutil.NoSuchProcess:
        return 0.0


if __name__ == "__main__":
    main()
