"""A few trials of runs that take turns while parts are killed; `make overlap` holds as many as one likes."""

from .overlap import hold_trials, interleaved


def test_runs_that_are_heard_in_turns_overlap():
    assert interleaved(["1", "1", "2", "3", "3"]) == []
    assert interleaved(["1", "2", "1", "3", "2"]) == ["1", "2"]


def test_two_runs_of_a_group_never_overlap_whatever_is_killed():
    trials, _ = hold_trials(5, seed=4)
    for trial in trials:
        assert not trial.overlapping
        assert not trial.stuck
        assert {run["id"] for run in trial.runs if run["status"] == "passed"}, trial.runs
