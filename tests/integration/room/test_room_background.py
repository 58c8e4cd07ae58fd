"""`process.start` in a real room: beside other commands, ready when it says so, gone when the stage is."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
import zstandard

from rivet.domain.mask import Masker
from rivet.domain.record import RecordType
from rivet.modules.contract import CallError
from rivet.modules.process import Start, Stop, Wait
from rivet.runner.log_writer import LogWriter
from rivet.runner.room import Room
from rivet.runner.stage_background import StageBackground

PYTHON = "import socket, time; s = socket.socket(); s.bind(('127.0.0.1', 7007)); time.sleep(0.3); s.listen(); time.sleep(60)"


class Book:
    """A journal that keeps the log's lines."""

    masker = Masker()

    def __init__(self) -> None:
        self.lines: list[str] = []

    def record(self, type: RecordType, *, body: bytes, **_: Any) -> None:
        self.lines += zstandard.ZstdDecompressor().decompress(body, max_output_size=1 << 24).decode().split("\n")

    def send(self) -> None:
        """Nothing is kept back."""


class Stage:
    """One stage with a room; `reason` stops it."""

    def __init__(self, room: Room, log: LogWriter) -> None:
        self._room = room
        self.reason: str | None = None
        self.background = StageBackground(self, log)

    def room(self) -> Room:
        return self._room

    def prepared(self, title, env, stdin):
        return dict(env), stdin

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        yield

    def go_on(self) -> None:
        if self.reason is not None:
            raise InterruptedError(self.reason)

    def assure(self) -> None:
        """Nobody else could have this stage."""

    def stopped(self) -> str | None:
        return self.reason


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def stage(room, book) -> Iterator[Stage]:
    with LogWriter(book, "s", 1, 1 << 20) as log:
        yield Stage(room, log)


def start(stage: Stage, line: str, **fields: Any) -> int:
    return Start.bind([{"command": "sh", "args": ["-c", line], **fields}]).act(stage)


def wait(stage: Stage, handle: int, *args: Any) -> dict[str, Any]:
    return Wait.bind([handle, *args]).act(stage)


def test_commands_run_side_by_side_and_each_has_its_own_end(stage, shell):
    begun = time.monotonic()
    handles = [start(stage, f"sleep 0.{n}; echo {n}; exit {n}", check=False, capture=True) for n in (3, 2, 1)]
    assert shell(stage.room(), "echo between")[1].text == "between\n"
    assert [stage.background.is_running(handle) for handle in handles] == [True] * 3
    ends = [wait(stage, handle) for handle in handles]
    assert [(end["exit_code"], end["stdout"]) for end in ends] == [(3, b"3\n"), (2, b"2\n"), (1, b"1\n")]
    assert time.monotonic() - begun < 1.5
    assert 0.1 < ends[2]["seconds"] < ends[0]["seconds"]
    assert not any(stage.background.is_running(handle) for handle in handles)
    assert wait(stage, handles[0])["exit_code"] == 3


def test_a_flood_in_the_background_neither_stands_still_nor_mixes_with_other_lines(stage, shell, book):
    handle = start(stage, "yes background | head -n 30000; printf last", capture=True)
    for _ in range(5):
        shell(stage.room(), "printf fore; sleep 0.02; echo ground")
    end = wait(stage, handle)
    assert len(end["stdout"]) == 30_000 * 11 + 4
    time.sleep(0.05)
    assert set(book.lines) == {"background", "last"}
    assert len(book.lines) == 30_001


def test_it_is_ready_when_it_listens(stage):
    begun = time.monotonic()
    handle = Start.bind([{"command": "python3", "args": ["-c", PYTHON], "ready": {"port": 7007, "timeout": 20}}]).act(stage)
    assert time.monotonic() - begun > 0.3
    assert stage.background.is_running(handle)
    assert Stop.bind([handle]).act(stage)["exit_code"] == 143
    assert wait(stage, handle)["exit_code"] == 143


def test_it_is_ready_when_it_says_so_or_when_a_command_says_so(stage):
    first = start(stage, "sleep 0.1; printf 'now rea'; sleep 0.05; echo 'dy (1)'; sleep 60", ready={"log": "ready (1)"})
    second = start(stage, "sleep 0.1; touch here; sleep 60", ready={"command": ["test", "-e", "here"]})
    assert stage.background.is_running(first)
    assert stage.background.is_running(second)


@pytest.mark.parametrize(
    ("line", "ready", "words"),
    [
        ("echo oh no; exit 4", {"port": 9}, "ended with exit code 4 before it was ready. Last lines: oh no"),
        ("echo up; sleep 60", {"port": 9, "timeout": 0.3}, "was not ready after 0.3 s and was ended: nothing listened at port 9"),
        ("sleep 60", {"log": "up", "timeout": 0.2}, 'nothing that it wrote held "up". It wrote nothing.'),
        ("sleep 60", {"command": "false", "timeout": 0.2}, '"false" did not end with exit code 0'),
        ("sleep 60", {"command": "no-such-thing"}, 'process.start: ready: command "no-such-thing" was not found'),
        ("sleep 60", {"port": 1, "log": "x"}, "expected one of port, log and command, given port and log"),
        ("sleep 60", {"timeout": 1}, "given none of them"),
        ("sleep 60", {"prot": 1}, 'process.start: ready: has no field "prot"; did you mean "port"?'),
        ("sleep 60", {"port": 70000}, "process.start: ready: port: expected at most 65535, given 70000"),
    ],
)
def test_what_does_not_become_ready_is_ended_and_told(stage, shell, line, ready, words):
    with pytest.raises(CallError) as raised:
        start(stage, line, ready=ready)
    assert words in str(raised.value)
    assert shell(stage.room(), "pgrep sleep || echo none")[1].text == "none\n"


def test_an_end_that_is_no_good_is_an_error_when_it_is_waited_for(stage):
    with pytest.raises(CallError, match=r'h:wait: command "sh -c .*" ended with exit code 3 after .* Last lines: why'):
        wait(stage, start(stage, "echo why; exit 3"))
    with pytest.raises(CallError, match=r'process.start: command "no-such-thing" was not found'):
        Start.bind([{"command": "no-such-thing"}]).act(stage)


def test_time_runs_out_for_the_wait_or_for_the_command(stage):
    handle = start(stage, "sleep 60")
    with pytest.raises(CallError, match=r"h:wait: .* is still running after 0.1 s"):
        wait(stage, handle, 0.1)
    assert stage.background.is_running(handle)
    with pytest.raises(CallError, match=r"was stopped after its timeout of 0.2 s"):
        wait(stage, start(stage, "exec >/dev/null 2>&1; sleep 60", timeout=0.2))


def test_stopping_ends_what_it_started_too(stage, shell):
    handle = start(stage, "sleep 61 & sleep 62", ready={"command": ["pgrep", "-f", "sleep 61"]})
    Stop.bind([handle]).act(stage)
    assert shell(stage.room(), "pgrep sleep || echo none")[1].text == "none\n"


def test_a_stopped_stage_ends_them_while_it_waits(stage, shell):
    handle = start(stage, "trap 'echo well > ended; exit' TERM; while :; do sleep 0.02; done")
    time.sleep(0.2)
    stage.reason = "cancelled"
    with pytest.raises(InterruptedError):
        wait(stage, handle)
    stage.reason = None
    assert shell(stage.room(), "cat ended")[1].text == "well\n"


def test_at_the_end_of_the_stage_they_may_say_a_last_word(stage, book):
    start(stage, "trap 'printf bye; exit' TERM; while :; do sleep 0.02; done")
    start(stage, "trap '' TERM; while :; do sleep 0.02; done")
    time.sleep(0.2)
    begun = time.monotonic()
    stage.background.end()
    assert stage.room().close()
    stage.background.finish()
    assert time.monotonic() - begun < 4
    time.sleep(0.05)
    assert "bye" in book.lines
