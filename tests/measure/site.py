"""The system that is measured, in the words that the measures need."""

import time
from typing import Any

import psutil

from rivet.client import ApiProblem, ApiUnreachable

from ..chaos.plant import Plant
from ..system.rivet_home import RivetHome

LOOK_S = 0.01
PATIENCE_S = 120.0

ECHO = 'process.run{command="echo", args={"here"}}'


def pipeline(script: str) -> str:
    return f'pipeline = {{ name = "measured", stages = {{ {{ name = "one", script = function() {script} end }} }} }}'


class Site:
    """A `RivetHome` that is up, with the default lease. Times are seconds on the monotonic clock."""

    def __init__(self, home: RivetHome) -> None:
        self.home = home
        self.plant = Plant(home)

    def submit(self, script: str) -> str:
        """Submit a run of one stage, as often as it takes for an API to answer."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self.home.submit("measured", pipeline(script))
            except (ApiUnreachable, ApiProblem):
                if time.monotonic() > deadline:
                    raise
            time.sleep(LOOK_S)

    def ended(self, run_id: str) -> dict[str, Any]:
        """The run, as soon as the API says that it has ended."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                run = self.home.run(run_id)
                if run["ended_at"] is not None:
                    return run
            except (ApiUnreachable, ApiProblem):
                pass
            time.sleep(LOOK_S)
        raise TimeoutError(f"run {run_id} has not ended within {PATIENCE_S:.0f} s")

    def at_work(self, script: str) -> str:
        """A run whose stage has said a line."""
        run_id = self.submit(script)
        deadline = time.monotonic() + PATIENCE_S
        while not self.home.lines(run_id):
            if time.monotonic() > deadline:
                raise TimeoutError(f"run {run_id} says nothing")
            time.sleep(0.05)
        return run_id

    def slot_of(self, run_id: str) -> psutil.Process:
        """The slot that works on the run."""
        jobs = {stage["job"] for stage in self.home.run(run_id)["stages"]}
        held = self.plant.jobs_held()
        return psutil.Process(next(pid for pid, theirs in held.items() if theirs & jobs))

    def until_well(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while (ailing := self.plant.ailing()) is not None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the system is not well: {ailing}")
            time.sleep(0.1)
