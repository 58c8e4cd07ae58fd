"""The example in each command's help does what it says, on a real system."""

import json
import re
import shlex
import subprocess
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest

from rivet.cli.reference import every_command, examples

from ..system.told import environment_of
from .conftest import RIVET, Terminal

PIPELINE = """return {
  name = "Typed Pipeline", inputs = { target = { type = "string", default = "staging" } },
  stages = { { name = "test", script = function()
    fs.write("a.whl", "a wheel") artifacts.upload({ name = "wheel", path = "a.whl" }) log.info("tested")
  end } },
}
"""
ASKS = """return { name = "Typed Approval", stages = { { name = "deploy", approval = {
  message = "now?", inputs = { region = { type = "string", default = "us" } } } } } }
"""
RUN = "example-pipeline#12"
ASKING = ("runs approve", "runs reject", "runs cancel")
"""Their run is one that still waits for a person; that of all others has ended."""
PARTS = ("serve", "control", "flower")
"""`rivet up` starts these, with other addresses: that they are understood is all that is left to see."""
OF_THEIR_OWN = ("up", "down", "demo")
"""These start and end whole systems: test_e2e_up and test_e2e_demo type them."""
FIRST = ("init", "check", "login", "pipeline save", "secret set", "run")
LAST = ("secret delete", "project delete", "context delete", "runner drain", "pipeline delete")
EVERY = {words: line for words, command in every_command() for line in examples(command)}


def test_every_command_has_an_example() -> None:
    assert [words for words, command in every_command() if not examples(command)] == []


@pytest.mark.timeout(180)
def test_every_example_does_what_it_says(terminal: Terminal) -> None:
    there = Terminal(terminal.folder / "examples", terminal.home)
    there.folder.mkdir()
    there.file("pipeline.lua", PIPELINE)
    there.file("asks.lua", ASKS)
    there.file("fixed.lua", PIPELINE)
    status = json.loads(there.rivet("status", "--json").stdout)
    (there.folder / "token").write_text(Path(status["token_file"]).read_text())
    operator = {
        **_settings_of(there.env()), "RIVET_RUNNER_NAME": "build-7",
        "RIVET_TOKEN": there.rivet("runner", "token", "--queue", "default,gpu").stdout.strip(),
        "RIVET_HOME": str(there.folder / "second"), "RIVET_STAGE_UIDS": "210000-210999",
    }  # fmt: skip
    person = {"XDG_CONFIG_HOME": str(there.folder / "config")}
    runner = there.begin(*_typed(EVERY["runner start"]), **operator)
    wrong = []
    between = sorted(set(EVERY) - {*FIRST, *LAST, *PARTS, *OF_THEIR_OWN, "runner start"})
    for words in (*FIRST, *between, *LAST):
        line = EVERY[words].replace("http://127.0.0.1:8080", status["url"])
        line = line.replace(RUN, _asking(there) if words in ASKING else "example-pipeline#1")
        # The system is shared: other tests have a pipeline of the name that the examples take.
        line = line.replace("example-pipeline", "typed-pipeline")
        empty = {"RIVET_HOME": str(there.folder / "restored")} if words == "restore" else {}
        done = _run(there, line, operator if words == "migrate" else person | empty)
        expected = 0 if words != "pipeline delete" or _takes_delete(status["url"]) else 2
        if done.returncode != expected:
            wrong.append(f"{line}: {done.returncode}: {done.stderr}{done.stdout}")
    if wrong:
        runner.terminate()
    _, told = runner.communicate(timeout=60)
    assert not wrong, "\n".join((*wrong, told))
    assert runner.returncode == 0, told


@pytest.mark.parametrize("words", PARTS)
def test_the_examples_of_parts_are_understood(words: str) -> None:
    with dict(every_command())[words].make_context(words, _typed(EVERY[words])[1:]) as context:
        assert context.command.name == words


def _takes_delete(url: str) -> bool:
    """Whether this server can delete pipelines; one that cannot refuses by name."""
    with urllib.request.urlopen(f"{url}/api/v1/openapi.json", timeout=30) as answer:
        paths = json.load(answer)["paths"]
    return any("delete" in methods for path, methods in paths.items() if re.search(r"/pipelines/{\w+}$", path))


def _asking(there: Terminal) -> str:
    """A run that waits for a person."""
    return there.rivet("run", "asks.lua", "--no-follow").stdout.strip()


def _settings_of(env: Mapping[str, str]) -> dict[str, str]:
    """What the running system gave its own API and runner."""
    told = environment_of("api", env) | environment_of("runner", env)
    return {name: value for name, value in told.items() if name.startswith("RIVET_")}


def _typed(line: str) -> list[str]:
    """The arguments of an example; what it sets before the command, the test sets to what is true here."""
    return shlex.split(re.sub(r"^([A-Z_]+=\S* )*rivet ", "", line))


def _run(there: Terminal, line: str, env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """As a shell runs it, with its redirections."""
    typed = re.sub(r"^([A-Z_]+=\S* )*rivet ", shlex.join(RIVET) + " ", line)
    return subprocess.run(
        ["sh", "-c", typed], cwd=there.folder, env=there.env(**env), input="a value\n", capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
