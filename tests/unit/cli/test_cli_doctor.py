"""`rivet doctor`: what it looks at, and what it says of what is wrong."""

import json

import pytest
from click.testing import CliRunner

from rivet.cli.doctor import doctor


@pytest.fixture
def told(monkeypatch, tmp_path):
    for name in ("RIVET_URL", "RIVET_TOKEN", "RIVET_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RIVET_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def ask(*arguments):
        return CliRunner().invoke(doctor, arguments)

    return ask


def test_each_finding_that_is_not_fine_has_its_mend(told):
    found = json.loads(told("--json").stdout)["findings"]
    names = {finding["name"] for finding in found}
    assert {"rivet", "packages", "git", "isolation", "PostgreSQL", "Redis", "server", "home"} <= names
    assert [one for one in found if one["state"] == "missing" and not one["mend"]] == []


def test_a_name_in_the_file_that_is_no_setting_is_said_with_the_nearest(told, tmp_path):
    (tmp_path / "rivet.toml").write_text('RIVET_SLOT = 3\nRIVET_TOKEN = "rvt_hush"\n')
    said = told("--quiet").stdout
    assert "slot is no setting" in said
    assert "Did you mean RIVET_SLOTS?" in said


def test_settings_say_where_they_come_from_and_secrets_are_masked(told, tmp_path, monkeypatch):
    (tmp_path / "rivet.toml").write_text('RIVET_SLOTS = 3\nRIVET_TOKEN = "rvt_hush"\n')
    monkeypatch.setenv("RIVET_DATABASE_URL", "postgresql://me:hush@127.0.0.1:1/x")
    done = told("--json")
    settings = {one["name"]: (one["value"], one["from"]) for one in json.loads(done.stdout)["settings"]}
    assert settings["RIVET_SLOTS"] == ("3", "rivet.toml")
    assert settings["RIVET_DATABASE_URL"][1] == "environment"
    assert settings["RIVET_LEASE_SECONDS"] == ("12.0", "default")
    assert settings["RIVET_TOKEN"] == ("***", "rivet.toml")
    assert "hush" not in done.stdout
