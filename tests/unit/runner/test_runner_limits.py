"""What the runner itself sees of limits: the pace of calls, and what the last lines of a command tell."""

import pytest

from rivet.domain.limits import Limits, OverLimit
from rivet.domain.states import Reason
from rivet.runner.limit_hint import limit_hint
from rivet.runner.pace import Pace


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_calls_are_counted_over_ten_seconds():
    clock = Clock()
    pace = Pace(5, clock)
    for _ in range(50):
        pace.step()
    with pytest.raises(OverLimit, match="limit of 5 for calls of modules a second"):
        pace.step()


def test_calls_at_the_allowed_pace_go_on_for_ever():
    clock = Clock()
    pace = Pace(5, clock)
    for _ in range(1000):
        pace.step()
        clock.now += 0.25


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("OSError: [Errno 24] Too many open files: 'x'", Reason.LIMIT_OPEN_FILES),
        ("Error: EMFILE, open 'x'", Reason.LIMIT_OPEN_FILES),
        ("sh: 1: Cannot fork", Reason.LIMIT_PROCESSES),
        ("RuntimeError: can't start new thread", Reason.LIMIT_PROCESSES),
        ("BlockingIOError: [Errno 11] Resource temporarily unavailable", Reason.LIMIT_PROCESSES),
    ],
)
def test_what_a_command_says_of_a_limit_is_understood(line, reason):
    over = limit_hint(["before", line], Limits())
    assert over is not None
    assert over.reason is reason


def test_what_says_nothing_of_a_limit_is_left_alone():
    assert limit_hint(["assert 1 == 2", "fork of a repository"], Limits()) is None
