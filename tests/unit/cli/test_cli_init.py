"""`rivet init` in a folder: what it writes is right, and what is there stays."""

import json

import pytest
from click.testing import CliRunner

from rivet.cli.init import init
from rivet.modules.stub import stub
from rivet.sandbox.definition import check
from rivet.sandbox.lua import Zygote


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a name that needs care, made the working one."""
    made = tmp_path / 'my "App" x'
    made.mkdir()
    monkeypatch.chdir(made)
    return made


def test_the_starter_is_a_pipeline_without_findings_named_after_its_folder(folder):
    assert CliRunner().invoke(init).exit_code == 0
    with Zygote() as zygote:
        checked = check(zygote, (folder / "rivet.lua").read_text())
    assert checked.places == []
    assert checked.definition.slug == "my-app-x"


def test_the_editor_finds_the_stubs_of_every_module(folder):
    CliRunner().invoke(init)
    told = json.loads((folder / ".luarc.json").read_text())
    (library,) = told["workspace.library"]
    assert [file.read_text() for file in (folder / library).glob("*.lua")] == [stub()]


def test_what_is_there_stays_but_for_the_stubs(folder):
    for name in ("rivet.lua", ".luarc.json"):
        (folder / name).write_text("mine")
    (folder / ".rivet").mkdir()
    (folder / ".rivet" / "modules.lua").write_text("of an older version")
    done = CliRunner().invoke(init)
    assert done.output.count("is there, and stays as it is") == 2
    assert [(folder / name).read_text() for name in ("rivet.lua", ".luarc.json")] == ["mine", "mine"]
    assert (folder / ".rivet" / "modules.lua").read_text() == stub()


def test_a_folder_that_cannot_be_written_is_named(folder):
    (folder / ".rivet").write_text("a file in the way")
    done = CliRunner().invoke(init)
    assert done.exit_code == 2
    assert ".rivet/modules.lua: Not a directory" in done.output or "File exists" in done.output
