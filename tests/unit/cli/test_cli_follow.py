"""Following a run: which of its lines, what Ctrl-C does, and which exit code its end is."""

import os
import signal

import pytest

from rivet.cli.ask_interrupted import Answer, held_interrupts
from rivet.cli.failures import Failed
from rivet.cli.follow import Follower, follow_to_the_end
from rivet.cli.log_filter import Wanted, pattern_of
from rivet.client import Event

URL, RUN = "http://127.0.0.1:9", {"id": "r1", "status": "queued", "stages": []}


class Server:
    """Answers with a run that ends in `status`, after as many Ctrl-Cs as there are to be."""

    url, token = URL, ""

    def __init__(self, status="passed", interrupts=0):
        self.status, self.interrupts, self.asked = status, interrupts, []

    def events(self, run_id, position, told):
        if self.interrupts:
            self.interrupts -= 1
            raise KeyboardInterrupt
        stages = [{"key": "a", "name": "a", "status": self.status, "attempts": []}]
        yield Event("9", "end", {"run": {**RUN, "status": self.status, "stages": stages}, "lines": 0})

    def call(self, method, path, body=None):
        self.asked.append((method, path))
        return {**RUN, "status": self.status}


def followed(server, *answers):
    given = iter(answers)
    return follow_to_the_end(Follower(server, RUN, "ci#1", as_json=True), lambda: next(given))


@pytest.mark.parametrize(
    ("status", "code"), [("passed", 0), ("failed", 1), ("timed_out", 1), ("cancelled", 4), ("errored", 5)]
)
def test_how_the_run_ends_is_the_exit_code(status, code):
    assert followed(Server(status)) == code


def test_who_goes_on_is_asked_again_and_who_detaches_leaves_the_run_alone():
    server = Server(interrupts=2)
    assert followed(server, Answer.GO_ON, Answer.DETACH) == 130
    assert server.asked == []


def test_who_cancels_sees_the_end_and_a_second_ctrl_c_leaves_without_asking(capsys):
    server = Server("cancelled", interrupts=1)
    assert followed(server, Answer.CANCEL) == 4
    assert server.asked == [("POST", "/runs/r1/cancel")]
    assert followed(Server(interrupts=2), Answer.CANCEL) == 130
    assert "it is being cancelled" in capsys.readouterr().err


def test_an_interrupt_waits_for_what_has_begun_and_a_second_one_does_not():
    done = []

    def interrupted(times):
        with held_interrupts():
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)
            done.append(times)

    for times in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            interrupted(times)
    assert done == [1]


def a_log(stage, *texts):
    return {"stage": stage, "lines": [{"text": text} for text in texts]}


def test_lines_are_asked_for_by_stage_pattern_and_number():
    texts = lambda wanted, *logs: [line["text"] for log in logs for line in wanted.of(log)]  # noqa: E731
    logs = (a_log("a", "one", "two"), a_log("b", "three"), a_log("a", "four"))
    assert texts(Wanted(), *logs) == ["one", "two", "three", "four"]
    assert texts(Wanted(stage="a"), *logs) == ["one", "two", "four"]
    assert texts(Wanted(pattern=pattern_of("o$|r")), *logs) == ["two", "three", "four"]
    assert texts(Wanted(stage="a", skip=1, pattern=pattern_of("t|f")), *logs) == ["two", "four"]
    with pytest.raises(Failed, match="regular expression"):
        pattern_of("(")
