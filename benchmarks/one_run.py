"""What one run costs each part: `python -m benchmarks.one_run`.

Processor time of every process beneath a part, of those too that ended meanwhile, over runs of one stage that are
submitted at once over HTTP; divided by their number. Noise of other work moves it less than it moves the clock.
"""

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from benchmarks.main_job import COMMAND, HELLO
from tests.system.rivet_home import RivetHome

COUNT = 100
PARTS = ("postgresql", "redis", "api", "control", "runner", "flower")
CHAIN = (
    "local stages = {} for n = 1, 20 do stages[n] = "
    '{ name = "s" .. n, script = function() log.info("hello") end } end '
    'pipeline = { name = "Chain", stages = stages }'
)


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="rvo"))
    folder.chmod(0o755)
    home = RivetHome(folder)
    try:
        home.up()
        json.dump(measure(home), sys.stdout, indent=2)
        sys.stdout.write("\n")
    finally:
        home.down()
        shutil.rmtree(folder, ignore_errors=True)


def measure(home: RivetHome) -> dict[str, object]:
    told: dict[str, object] = {}
    for name, lua, count in (("hello", HELLO, COUNT), ("command", COMMAND, COUNT), ("chain", CHAIN, COUNT // 20)):
        home.finish(home.submit(name, lua))
        told[f"cpu_ms_a_run_{name}"] = spent_ms(home, name, lua, count)
    return told


def spent_ms(home: RivetHome, slug: str, lua: str, count: int) -> dict[str, float]:
    before, begun = spent_s(home), time.perf_counter()
    ids = home.submit_at_once(slug, lua, count)
    while home.query("SELECT count(*) FROM run WHERE id = ANY(%s::uuid[]) AND ended_at IS NULL", ids) != [(0,)]:
        time.sleep(0.1)
    wall_s, after = time.perf_counter() - begun, spent_s(home)
    ms = {part: round((after[part] - before[part]) * 1000 / count, 1) for part in after}
    return {**ms, "all": round(sum(ms.values()), 1), "wall": round(wall_s * 1000 / count, 1)}


def spent_s(home: RivetHome) -> Mapping[str, float]:
    """Processor seconds since the start, by part; the runner's are told apart by process."""
    spent = {part: _of_tree(psutil.Process(home.pid(part))) for part in PARTS if part != "runner"}
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
