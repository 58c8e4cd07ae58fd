"""What scripts see of `process` and `git`: checked fields, results, and errors that say what to do."""

from typing import Any

import pytest

from rivet.modules.contract import CallError, Process
from rivet.modules.git import Clone
from rivet.modules.process import Run, Which


class Stage:
    """A stage whose commands end as the test says, and which remembers what it was asked."""

    def __init__(self, ended: Process | None = None) -> None:
        self.ended = ended or Process(0, b"", b"", 0.1, [])
        self.asked: dict[str, Any] = {}

    def run_process(self, argv: list[str], **asked: Any) -> Process:
        self.asked = {"argv": argv, **asked}
        return self.ended

    def fetch_git(self, *asked: Any, submodules: bool, token: object) -> str:
        self.asked = {"git": asked, "submodules": submodules, "token": token}
        return "a" * 40


def run(stage: Stage, **fields: Any) -> Any:
    return Run.bind([fields]).act(stage)


def test_a_command_is_run_as_it_was_given():
    stage = Stage(Process(0, b"out", b"err", 1.5, ["out"]))
    result = run(stage, command="pytest", args=["tests/", 3], cwd="sub", env={"A": "b"}, stdin="x", timeout="2m")
    assert stage.asked == {
        "argv": ["pytest", "tests/", "3"], "env": {"A": "b"}, "cwd": "sub", "stdin": b"x",
        "timeout_s": 120.0, "capture": False,
    }  # fmt: skip
    assert result == {"exit_code": 0, "seconds": 1.5}


def test_outputs_come_back_only_with_capture_and_bounded():
    stage = Stage(Process(0, b"o" * (2 << 20), b"err", 1.5, []))
    result = run(stage, command="x", capture=True)
    assert (len(result["stdout"]), result["stderr"]) == (1 << 20, b"err")


def test_a_failed_command_is_an_error_with_exit_code_and_last_lines():
    stage = Stage(Process(1, b"", b"", 12.34, ["E  assert 1 == 2", "1 failed"], hint="Try this"))
    with pytest.raises(CallError) as raised:
        run(stage, command="pytest", args=["tests/"])
    assert str(raised.value) == (
        'process.run: command "pytest tests/" ended with exit code 1 after 12.3 s. '
        "Last lines: E  assert 1 == 2 / 1 failed. Try this"
    )
    assert raised.value.exit_code == 1


def test_without_check_a_failure_is_a_result():
    assert run(Stage(Process(3, b"", b"", 0.1, [])), command="x", check=False)["exit_code"] == 3


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("PATH", "PATH_PREPEND"), ("LD_PRELOAD", "cannot be set"), ("RIVET_TOKEN", "cannot be set"),
        ("A-B", "letters, digits"), ("", "letters, digits"), ("1A", "letters, digits"), ("Ä", "letters"),
    ],
)  # fmt: skip
def test_variables_that_are_not_a_stages_to_set(name, words):
    with pytest.raises(CallError, match=words):
        run(Stage(), command="x", env={name: "value"})


def test_path_can_be_extended():
    stage = Stage()
    run(stage, command="x", env={"PATH_PREPEND": "/workspace/bin"})
    assert stage.asked["env"] == {"PATH_PREPEND": "/workspace/bin"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "command: is required"),
        ({"command": ""}, "command: "),
        ({"command": "x", "cwd": "/etc"}, "cwd: .*inside the workspace"),
        ({"command": "x", "cwd": "a/../.."}, "cwd: .*inside the workspace"),
        ({"command": "x", "args": "a b"}, "args: expected a list"),
        ({"command": "x", "timeout": "soon"}, "timeout: expected a duration"),
        ({"command": "x", "comand": "y"}, 'did you mean "command"'),
        ({"command": "x", "env": {"A": {}}}, "env: "),
    ],
)
def test_ill_fields_are_named(fields, words):
    with pytest.raises(CallError, match=words):
        run(Stage(), **fields)


@pytest.mark.parametrize(
    ("ended", "found"),
    [
        (Process(0, b"/usr/bin/git\n", b"", 0.1, []), "/usr/bin/git"),
        (Process(1, b"", b"", 0.1, []), None),
        (Process(0, b"echo\n", b"", 0.1, []), None),
    ],
)
def test_which_tells_a_path_or_nothing(ended, found):
    stage = Stage(ended)
    assert Which.bind(["git"]).act(stage) == found
    assert stage.asked["argv"][-1] == "git"
    assert stage.asked["quiet"]


def test_clone_passes_on_what_was_asked():
    stage = Stage()
    assert Clone.bind([{"url": "https://example.org/a.git", "branch": "main"}]).act(stage) == "a" * 40
    assert stage.asked["git"] == ("https://example.org/a.git", "main", None, 1, ".")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "url: is required"),
        ({"url": "x", "depth": -1}, "depth: expected at least 0"),
        ({"url": "x", "branch": "--upload-pack=x"}, "branch: "),
        ({"url": "x", "path": "../x"}, "path: "),
    ],
)
def test_ill_fields_of_clone_are_named(fields, words):
    with pytest.raises(CallError, match=words):
        Clone.bind([fields]).act(Stage())
