"""Disks that take no more: the runner's own, and PostgreSQL's. What was under way ends; all goes on afterwards."""

import pytest

from rivet.client import ApiProblem

from ..chaos.plant import Plant
from ..system.rivet_home import wait_for

COUNTS = """
pipeline = { name = "Counts", stages = {
  { name = "a", script = function()
      process.run{command="bash", args={"-c", "for ((i = 1; i <= 60; i++)); do echo a$i; sleep 0.02; done"}}
    end },
  { name = "b", script = function() log.info("b1") end },
} }
"""
COUNTED = [*(f"a{number}" for number in range(1, 61)), "b1"]


def in_the_middle(home) -> str:
    """A run that is counting."""
    run_id = home.submit("counts", COUNTS)
    wait_for(lambda: len(home.lines(run_id, "a")) >= 5, 20)
    return run_id


def passes_whole(home, run_id: str) -> None:
    run = home.finish(run_id, within_s=40)
    assert run["status"] == "passed", run
    assert home.lines(run_id) == COUNTED


def test_a_full_disk_of_the_runner_ends_what_it_hits_and_nothing_else(crash_plant):
    home = crash_plant.home
    runner = home.pid("runner")
    run_id = in_the_middle(home)
    with crash_plant.full_disk():
        run = home.finish(run_id, within_s=40)
    assert (run["status"], run["reason"]) == ("errored", "slot_lost")
    said = [line for line in home.lines(run_id, "a") if line.startswith("a")]
    assert said == COUNTED[: len(said)]
    passes_whole(home, home.submit("counts", COUNTS))
    assert home.pid("runner") == runner


def test_a_read_only_database_is_told_as_503_and_waited_out(crash_plant):
    home = crash_plant.home
    run_id = in_the_middle(home)
    plant = Plant(home)
    plant.set_read_only(True)
    with pytest.raises(ApiProblem) as refused:
        wait_for(lambda: not home.submit("counts", COUNTS), 10)
    assert (refused.value.status, refused.value.code) == (503, "unavailable")
    assert home.run(run_id)["id"] == run_id
    plant.set_read_only(False)
    passes_whole(home, run_id)
    passes_whole(home, home.submit("counts", COUNTS))
