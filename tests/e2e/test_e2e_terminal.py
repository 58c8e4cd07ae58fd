"""`rivet run` on a terminal: what a person sees there, is asked, and types."""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pyte
import pytest

from .conftest import RIVET, Terminal

SLEEPS = 'log.info("begun") process.run({ command = "sleep", args = { "60" } })'
TWO = """return { name = "%s", stages = {
  { name = "first", script = function() process.run({ command = "sh", args = { "-c", "echo one; sleep 2.5" } }) end },
  { name = "second with a name that is far too long for the window", script = function() error("broken") end },
} }"""


class Shown:
    """A command on a terminal of that size, and what stands there."""

    def __init__(self, terminal: Terminal, columns: int, lines: int, *arguments: str, **env: str) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.Stream(self.screen)
        self.sent = ""
        self.process = pexpect.spawn(
            RIVET[0], [*RIVET[1:], *arguments], cwd=str(terminal.folder), dimensions=(lines, columns),
            env=terminal.env(**{"TERM": "xterm-256color", **env}), encoding="utf-8", timeout=30,
        )  # fmt: skip

    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display if line.strip()]

    def until(self, seen: Callable[[str], object], within_s: float = 40.0) -> str:
        """Read until what stands there is as wanted; all of it then."""
        deadline = time.monotonic() + within_s
        while not seen(text := "\n".join(self.lines())):
            assert time.monotonic() < deadline, f"never so: {text}"
            self._read()
        return text

    def end(self) -> int:
        """The exit code, everything read."""
        while self._read():
            pass
        self.process.close()
        return int(self.process.exitstatus or 0)

    def _read(self) -> bool:
        try:
            text = self.process.read_nonblocking(65536, 0.5)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.sent += text
        self._stream.feed(text)
        return True


@pytest.fixture
def show(terminal: Terminal) -> Iterator[Callable[..., Shown]]:
    begun: list[Shown] = []

    def start(columns: int, lines: int, *arguments: str, **env: str) -> Shown:
        begun.append(Shown(terminal, columns, lines, *arguments, **env))
        return begun[-1]

    yield start
    for one in begun:
        one.process.close(force=True)


def test_stages_stay_in_view_while_the_log_goes_by_and_the_error_is_last(
    terminal: Terminal, show: Callable[..., Shown]
) -> None:
    shown = show(80, 24, "run", terminal.file("view.lua", TWO % "view"))
    live = shown.until(lambda text: "| one" in text and re.search(r"first +running", text))
    assert re.search(r"== first\n  \| one\n.* running view#1 .*\n.*first +running.*\n.*second with.*pending", live)
    assert shown.end() == 1
    left = "\n".join(shown.lines())
    assert re.search(r"passed +first +\d", left)
    assert "running" not in left
    assert "broken" in shown.lines()[-1]


def test_a_terminal_that_cannot_be_drawn_on_gets_plain_lines(
    terminal: Terminal, show: Callable[..., Shown]
) -> None:
    shown = show(80, 24, "run", terminal.pipeline("dumb", 'log.info("hello")'))
    assert shown.end() == 0
    assert "\x1b[3" not in shown.sent, "a colour under NO_COLOR"
    shown = show(80, 24, "runs", "watch", "dumb#1", TERM="dumb")
    assert shown.end() == 0
    assert "\x1b" not in shown.sent


@pytest.mark.parametrize(
    ("answer", "code", "status"), [("d", 130, "running"), ("", 130, "running"), ("c", 4, "cancelled")]
)
def test_ctrl_c_asks_and_each_answer_has_its_code(
    terminal: Terminal, show: Callable[..., Shown], answer: str, code: int, status: str
) -> None:
    shown = show(80, 24, "run", terminal.pipeline("stops", SLEEPS))
    shown.until(lambda text: "| begun" in text)
    shown.process.sendintr()
    shown.until(lambda text: "cancel, detach, go on" in text)
    shown.process.sendline("go")
    shown.until(lambda text: re.search(r"work +running", text.rpartition("go on")[2]))
    shown.process.sendintr()
    shown.until(lambda text: text.count("cancel, detach, go on") >= 2)
    shown.process.sendline(answer) if answer else shown.process.sendintr()
    assert shown.end() == code
    name = re.search(r"stops#\d+", shown.sent)
    assert name is not None
    assert status in terminal.rivet("runs", "show", name[0]).stdout.splitlines()[0]
    terminal.rivet("runs", "cancel", name[0])


def test_required_inputs_are_asked_for_and_what_does_not_fit_is_asked_again(
    terminal: Terminal, show: Callable[..., Shown]
) -> None:
    head = """inputs = {
      target = { type = "string", required = true, options = { "staging", "prod" }, description = "where to" },
      times = { type = "number", required = true }, API_TOKEN = { type = "string", required = true },
    },"""
    script = 'log.info(input.get("target") .. " " .. input.get("times") * 2)'
    shown = show(100, 30, "run", terminal.pipeline("prompts", script, head=head), "-i", "target=prod")
    shown.until(lambda text: "API_TOKEN:" in text)
    shown.process.sendline("hush-hush")
    shown.until(lambda text: "times:" in text)
    shown.process.sendline("many")
    shown.until(lambda text: "expected a number, given many" in text)
    shown.process.sendline("4")
    assert shown.end() == 0
    assert "| prod 8" in shown.sent
    assert "hush-hush" not in shown.sent


def test_a_person_signs_in_unseen_and_their_context_is_spoken_to(
    terminal: Terminal, show: Callable[..., Shown], tmp_path: Path
) -> None:
    status = json.loads(terminal.rivet("status", "--json").stdout)
    elsewhere = {"XDG_CONFIG_HOME": str(tmp_path), "RIVET_HOME": str(tmp_path)}
    wrong = terminal.rivet("login", status["url"], **elsewhere)
    assert wrong.returncode == 2
    shown = show(100, 24, "login", status["url"], "--name", "here", **elsewhere)
    shown.until(lambda text: "not shown" in text)
    token = Path(status["token_file"]).read_text().strip()
    shown.process.sendline(token)
    assert shown.end() == 0
    assert token not in shown.sent
    assert terminal.rivet("runs", "list", **elsewhere).returncode == 0
    assert terminal.rivet("context", "list", "--quiet", **elsewhere).stdout == "here\n"
