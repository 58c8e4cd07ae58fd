"""The tables of moves, and how ends are derived."""

import pytest

from rivet.domain import job, run, transitions
from rivet.domain.errors import IllegalMove
from rivet.domain.states import (
    FINISHED_JOB,
    FINISHED_RUN,
    FINISHED_STAGE,
    JobStatus,
    RunStatus,
    StageStatus,
)


def test_what_is_finished_moves_nowhere_and_everything_else_does():
    for moves, kind, finished in (
        (transitions.RUN, RunStatus, FINISHED_RUN),
        (transitions.JOB, JobStatus, FINISHED_JOB),
        (transitions.STAGE, StageStatus, FINISHED_STAGE),
    ):
        assert {state for state in kind if moves.is_terminal(state)} == finished


def test_a_move_that_is_not_in_the_table_is_refused():
    with pytest.raises(IllegalMove, match="passed"):
        transitions.RUN.check(RunStatus.PASSED, RunStatus.RUNNING)


@pytest.mark.parametrize(
    ("stages", "ended"),
    [
        (["passed", "passed"], "passed"),
        (["passed", "warned", "skipped"], "passed"),
        (["failed", "skipped"], "failed"),
        (["timed_out", "skipped"], "timed_out"),
        (["failed", "errored"], "errored"),
    ],
)
def test_the_worst_stage_says_how_job_and_run_end(stages, ended):
    states = [StageStatus(stage) for stage in stages]
    assert job.end_of(states) == ended
    assert run.end_of(states, cancelling=False) == ended


def test_a_cancelled_run_ends_cancelled_unless_something_of_ours_broke():
    assert run.end_of([StageStatus.FAILED, StageStatus.CANCELLED], cancelling=True) is RunStatus.CANCELLED
    assert run.end_of([StageStatus.ERRORED, StageStatus.CANCELLED], cancelling=True) is RunStatus.ERRORED
