"""Measure a matrix on two runners: `python -m benchmarks.matrix`.

64 members that sleep for a second on 4 slots of two runners (2 + 2), each in a copy of the workspace that one
runner left, each keeping a file: from the run's begin to its end, beside the ideal time of 16 s.
"""

import json
import sys
from datetime import datetime

from benchmarks.system import a_system
from tests.system.rivet_home import RivetHome
from tests.system.second_runner import second_runner

MEMBERS, SLOTS, SECONDS = 64, 4, 1.0
LUA = """
local function sh(text, env) process.run({ command = "sh", args = { "-c", text }, env = env }) end
local numbers = {}
for n = 1, 64 do numbers[n] = n end
pipeline = { name = "Matrix", stages = {
  { name = "make", script = function() sh("mkdir src; seq 100 | while read n; do echo $n > src/$n; done") end },
  { name = "each", matrix = { n = numbers }, keep = { "kept/*" }, script = function()
      sh("[ ! -e mine ] && touch mine && mkdir kept && echo $N > kept/$N && sleep 1", { N = matrix.n })
    end },
  { name = "after", script = function() sh("[ $(ls kept | wc -l) = 64 ] && [ $(ls src | wc -l) = 100 ]") end },
} }
"""


def main() -> None:
    with a_system() as home, second_runner(home):
        json.dump(measure(home), sys.stdout, indent=2)
    sys.stdout.write("\n")


def measure(home: RivetHome) -> dict[str, object]:
    run = home.finish(home.submit("matrix", LUA), within_s=300)
    assert run["status"] == "passed", run["reason"]
    members = [stage for stage in run["stages"] if stage["key"].startswith("each")]
    first = min(member["attempts"][0]["started_at"] for member in members)
    last = max(member["attempts"][0]["ended_at"] for member in members)
    ideal_s = MEMBERS * SECONDS / SLOTS
    whole_s = _between(run["started_at"], run["ended_at"])
    group_s = _between(first, last)
    runners = [member["runner"] for member in members]
    return {
        "matrix_on_two_runners": {
            "ideal_s": ideal_s,
            "group_s": round(group_s, 1),
            "group_ratio": round(group_s / ideal_s, 2),
            "run_s": round(whole_s, 1),
            "run_ratio": round(whole_s / ideal_s, 2),
            "members_of_each_runner": sorted(runners.count(name) for name in set(runners)),
        }
    }


def _between(first: str, last: str) -> float:
    return (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()


if __name__ == "__main__":
    main()
