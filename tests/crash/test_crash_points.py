"""Each part killed at each of its exact places: the run ends as it must, nothing is lost, nothing happens twice."""

import pytest

from ..chaos.shapes import Shape, StageShape
from ..system.rivet_home import wait_for
from .cases import CASES, Case
from .crash_plant import WITHIN_S


@pytest.mark.parametrize(
    ("number", "case"), list(enumerate(CASES, 1)), ids=[case.told().replace(" ", "-") for case in CASES]
)
def test_a_death_at_this_place_loses_and_doubles_nothing(crash_plant, number, case):
    shape = two_stages(number, case)
    crash_plant.arm(case)
    run_id = crash_plant.submit(shape)
    if run_id is None:
        stored = crash_plant.stored(shape)
        assert len(stored) == (0 if case.point == "before commit of start_run" else 1)
        run_id = stored[0] if stored else crash_plant.submit(shape)
    run = crash_plant.home.finish(run_id, WITHIN_S)
    wait_for(lambda: crash_plant.has_struck(case), WITHIN_S, lambda: f"nobody came by {case.point}")
    assert (run["status"], run["reason"]) in case.ends
    if case.attempts is not None:
        assert tuple(attempt["status"] for attempt in run["stages"][0]["attempts"]) == case.attempts
    crash_plant.judge(shape, run, case)


def two_stages(number: int, case: Case) -> Shape:
    """Each has one effect; the second needs what the first has put out."""
    stages = (StageShape("a", True, 3, 0.0, 2, None), StageShape("b", True, 2, 0.0, 1, "a"))
    return Shape(f"crash-{number}", case.on_lost, stages)
