"""Every failure is one clear message with the exit code that the documentation promises."""

from pathlib import Path

import pytest

from rivet.cli import _main
from rivet.cli.failures import Failed, exit_code_of, in_words
from rivet.cli.inputs import parse_inputs
from rivet.cli.source import is_file, read_source
from rivet.client import ApiProblem, ApiUnreachable


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RIVET_URL", "RIVET_TOKEN", "RIVET_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RIVET_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("status", "code"),
    [("passed", 0), ("failed", 1), ("timed_out", 1), ("cancelled", 4), ("errored", 5), ("", 5)],
)
def test_how_a_run_ended_is_the_exit_code(status: str, code: int) -> None:
    assert exit_code_of(status) == code


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ApiUnreachable("nobody there"), 3, "rivet up"),
        (ApiProblem(401, "unauthenticated", "no token was sent"), 3, "RIVET_TOKEN"),
        (ApiProblem(403, "forbidden", "this token may not"), 3, "may not"),
        (ApiProblem(503, "unavailable", "PostgreSQL does not answer"), 3, "PostgreSQL does not answer"),
        (ApiProblem(404, "not_found", "there is no pipeline"), 2, "there is no pipeline"),
        (ApiProblem(422, "invalid_input", 'input "n": expected a number'), 2, 'input "n"'),
        (ApiProblem(409, "conflict", "another name"), 2, "another name"),
        (PermissionError(13, "Permission denied", "/x"), 2, "/x: Permission denied"),
        (ZeroDivisionError("oh"), 5, "a defect of Rivet: ZeroDivisionError: oh"),
    ],
)
def test_what_went_wrong_is_said_in_words(error: Exception, code: int, said: str) -> None:
    message, exit_code = in_words(error)
    assert exit_code == code
    assert said in message


def test_findings_are_shown_with_their_places() -> None:
    finding = {"line": 3, "column": 5, "code": "unknown-field", "message": "no field", "severity": "error"}
    message, code = in_words(ApiProblem(422, "invalid_pipeline", "1 error", {"findings": [finding]}))
    assert (code, message.splitlines()[1]) == (2, "pipeline:3:5: error[unknown-field]: no field")


def test_inputs_are_names_and_values() -> None:
    assert parse_inputs(("a=1", "b=x=y", "c=")) == {"a": "1", "b": "x=y", "c": ""}
    for wrong in (("a",), ("=1",), ("a=1", "a=2")):
        with pytest.raises(Failed):
            parse_inputs(wrong)


def test_a_file_is_told_from_a_name() -> None:
    assert [is_file(argument) for argument in ("a.lua", "./a", "dir/a", "a", "example-pipeline")] == [
        *(True, True, True),
        *(False, False),
    ]


def test_a_file_that_is_no_text_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.lua").write_bytes(b"-- one\nx = '\xff'\n")
    with pytest.raises(Failed, match=r"a.lua:2:6: byte 0xff is not UTF-8"):
        read_source(str(tmp_path / "a.lua"))
    with pytest.raises(Failed, match="No such file"):
        read_source(str(tmp_path / "none.lua"))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["rnu", "x.lua"], 2, "did you mean 'run'?"),
        (["run"], 2, "Missing argument"),
        (["run", "none.lua"], 2, "none.lua: No such file"),
        (["run", "x", "--save"], 2, "--save publishes a file"),
        (["runs", "list"], 3, "`rivet up` starts one on this machine"),
        (["status"], 3, "Start it with `rivet up`"),
        (["serve"], 2, "RIVET_DATABASE_URL, RIVET_BROKER_URL, RIVET_SECRET_KEY must be set"),
        (["control"], 2, "must be set"),
        (["migrate"], 2, "RIVET_DATABASE_URL must be set"),
        (["flower"], 2, "RIVET_BROKER_URL must be set"),
        (["runner", "start"], 2, "RIVET_URL, RIVET_TOKEN, RIVET_BROKER_URL must be set"),
        (["up", "--slots", "0"], 2, "is not in the range"),
    ],
)
def test_wrong_usage_says_what_is_right(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _main(arguments) == code
    told = capsys.readouterr()
    assert said in told.err
    assert "Traceback" not in told.err
    assert told.out == ""


def test_a_setting_that_cannot_be_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RIVET_SLOTS", "many")
    assert _main(["status"]) == 2
    told = capsys.readouterr().err
    assert "RIVET_SLOTS" in told
    assert "'many'" in told


def test_a_configuration_file_that_cannot_be_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rivet.toml").write_text("RIVET_SLOTS = = 2")
    assert _main(["status"]) == 2
    assert "rivet.toml cannot be read" in capsys.readouterr().err
