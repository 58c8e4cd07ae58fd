"""Measure reruns from a stage on with a workspace of 1 GiB: `python -m benchmarks.reruns`.

From the asking to the begin of the stage's attempt, on the runner that has the workspace; beside a plain start of
a run that has none. `spare`: nobody goes on from the job, so that its workspace is put right; `copied`: a group
does, so that it is copied.
"""

import json
import shutil
import statistics
import sys
import tempfile
from datetime import datetime
from pathlib import Path

from tests.system.rivet_home import RivetHome

TIMES = 5
PLAIN = 'pipeline = { name = "Plain", stages = { { name = "check", script = function() end } } }'
LARGE = """
local function sh(text) process.run({ command = "sh", args = { "-c", text } }) end
pipeline = { name = "%s", stages = {
  { name = "make", script = function() sh("head -c 1073741824 /dev/urandom | split -b 1048576 -a 3 - part.") end },
  { name = "check", script = function() sh("[ $(ls | wc -l) = 1024 ] && echo more >> part.aaa") %s end },
  %s
} }
"""
GROUP = '{ name = "each", matrix = { n = { 1 } }, script = function() end },'


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="rvr"))
    folder.chmod(0o755)
    home = RivetHome(folder)
    try:
        home.up()
        told = {
            "plain start": _told([_start_s(home, home.submit("plain", PLAIN)) for _ in range(TIMES)]),
            "spare": _told(_reruns(home, "spare", LARGE % ("Spare", "error('again')", ""))),
            "copied": _told(_reruns(home, "copied", LARGE % ("Copied", "", GROUP))),
        }
    finally:
        home.down()
        shutil.rmtree(folder, ignore_errors=True)
    json.dump({"rerun_from_a_stage_with_1_gib": told}, sys.stdout, indent=2)
    sys.stdout.write("\n")


def _reruns(home: RivetHome, slug: str, lua: str) -> list[float]:
    """Each of the one before, so that each has what that one left."""
    run_id, taken = home.submit(slug, lua), []
    home.finish(run_id, within_s=300)
    for _ in range(TIMES):
        run_id = str(home.client.call("POST", f"/runs/{run_id}/rerun", {"from_stage": "check"})["id"])
        taken.append(_start_s(home, run_id))
    return taken


def _start_s(home: RivetHome, run_id: str) -> float:
    """From when the run was asked for until its stage `check` began."""
    run = home.finish(run_id, within_s=300)
    attempt = next(stage for stage in run["stages"] if stage["key"] == "check")["attempts"][0]
    return (_time(attempt["started_at"]) - _time(run["created_at"])).total_seconds()


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _told(taken: list[float]) -> dict[str, float]:
    seconds = {"median_s": statistics.median(taken), "min_s": min(taken), "max_s": max(taken)}
    return {name: round(value, 3) for name, value in seconds.items()}


if __name__ == "__main__":
    main()
