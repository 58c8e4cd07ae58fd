"""Contexts: one file that only its owner reads, which one is in use, and what goes before it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from rivet.cli.context import context
from rivet.cli.contexts import Context, Contexts, contexts_file, read_contexts, write_contexts
from rivet.cli.failures import Failed
from rivet.cli.server import find_server


@pytest.fixture(autouse=True)
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("RIVET_URL", "RIVET_TOKEN", "RIVET_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("RIVET_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "config"


def two() -> Contexts:
    work = Contexts().with_one("work", Context("http://127.0.0.1:1", "rvt_work"))
    return work.with_one("home", Context("http://127.0.0.1:2", "rvt_home"))


def test_they_are_kept_in_a_file_that_only_its_owner_reads() -> None:
    write_contexts(two())
    assert contexts_file().stat().st_mode & 0o777 == 0o600
    assert read_contexts() == two()
    assert list(contexts_file().parent.iterdir()) == [contexts_file()]


def test_the_current_one_is_spoken_to_and_the_environment_goes_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_contexts(two())
    found = find_server()
    assert found is not None
    assert (found.url, found.token) == ("http://127.0.0.1:2", "rvt_home")
    monkeypatch.setenv("RIVET_URL", "http://127.0.0.1:3")
    found = find_server()
    assert found is not None
    assert (found.url, found.token) == ("http://127.0.0.1:3", "")


def test_a_file_that_others_may_read_is_refused_with_its_mend() -> None:
    write_contexts(two())
    contexts_file().chmod(0o644)
    with pytest.raises(Failed, match="chmod 600"):
        read_contexts()


def test_a_file_that_holds_something_else_is_refused() -> None:
    contexts_file().parent.mkdir(parents=True)
    for text in ("", "[]", '{"current": "x"}', '{"current": "x", "contexts": {"a": 1}}'):
        contexts_file().write_text(text)
        contexts_file().chmod(0o600)
        with pytest.raises(Failed, match="holds no contexts"):
            read_contexts()


def test_they_are_listed_chosen_and_forgotten() -> None:
    write_contexts(two())
    listed = json.loads(CliRunner().invoke(context, ["list", "--json"]).stdout)
    assert [(one["name"], one["current"]) for one in listed["items"]] == [("home", True), ("work", False)]
    assert "rvt_" not in CliRunner().invoke(context, ["list"]).output
    assert CliRunner().invoke(context, ["use", "work"]).exit_code == 0
    assert read_contexts().current == "work"
    assert CliRunner().invoke(context, ["delete", "work"]).exit_code == 0
    assert (read_contexts().current, list(read_contexts().by_name)) == ("", ["home"])
    refused = CliRunner().invoke(context, ["use", "wrok"])
    assert refused.exit_code == 2
    assert "there are: home" in refused.output
