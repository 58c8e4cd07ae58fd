"""What stays in view of a run that is followed."""

from datetime import UTC, datetime, timedelta

import pytest

from rivet.cli.board import Board

NOW = datetime(2026, 1, 1, 12, 0, 10, tzinfo=UTC)


def a_stage(key, status="pending", **more):
    return {"key": key, "name": key.title(), "status": status, "attempts": [], "queue": "default", **more}


def ago(seconds):
    return (NOW - timedelta(seconds=seconds)).isoformat()


@pytest.fixture
def board():
    made = Board("ci#1", now=lambda: NOW)
    stages = [a_stage("build"), a_stage("test"), a_stage("deploy")]
    made.renew({"status": "queued", "created_at": ago(9), "stages": stages})
    return made


def told(board, most=20, columns=80):
    return ["".join(text for text, _ in line) for line in board.lines(most, columns)]


def test_stages_stand_with_state_and_time(board):
    board.hear({"stage": "build", "attempt": 1, "status": "running", "at": ago(9)})
    board.hear({"stage": "build", "attempt": 1, "status": "passed", "at": ago(5)})
    board.hear({"stage": "test", "attempt": 2, "status": "running", "at": ago(4)})
    head, build, test, deploy = told(board)
    assert "running ci#1" in head
    assert build == "  ✓ Build   passed  4.0 s"
    assert test.endswith("Test    running  4.0 s  attempt 2")
    assert deploy == "  · Deploy  pending"


@pytest.mark.parametrize(
    ("reason", "words"),
    [("no_runner", "no runner serves its queue"), ("concurrency", "another run of its group has its turn")],
)
def test_what_waits_says_why(board, reason, words):
    board.renew({"status": "queued", "reason": reason, "waiting_since": ago(9), "stages": []})
    assert told(board)[0].endswith(f"queued ci#1  9.1 s: {words}".replace("9.1", "9.0"))


def test_being_queued_for_a_moment_is_no_reason(board):
    board.renew({"status": "queued", "reason": "queue_busy", "waiting_since": ago(1), "stages": []})
    assert told(board)[0].endswith("1.0 s")
    board.renew({"status": "queued", "reason": "queue_busy", "waiting_since": ago(3), "stages": []})
    assert told(board)[0].endswith("busy")


def test_of_many_stages_those_that_matter_stay_in_view(board):
    stages = [a_stage(f"s{number}", "passed") for number in range(50)]
    stages += [a_stage("now", "running"), a_stage("broken", "failed")]
    board.renew({"status": "running", "stages": stages})
    shown = told(board, most=5)
    assert len(shown) == 5
    assert [line for line in shown if "Now" in line or "Broken" in line] == shown[2:4]
    assert shown[-1] == "  … and 49 more"


def test_in_a_narrow_window_names_give_way_to_states_and_times(board):
    board.renew({"status": "running", "stages": [a_stage("a-very-long-name-indeed", "running")]})
    assert told(board, columns=40)[1].split(maxsplit=1)[1] == "A-Very-Long-N…  running"


def test_names_of_strangers_do_not_steer_the_terminal(board):
    board.renew({"status": "running", "stages": [a_stage("x\x1b[2J", "running")]})
    assert "\x1b" not in "".join(told(board))
