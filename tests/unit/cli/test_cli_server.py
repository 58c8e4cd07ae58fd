"""Which server the command line speaks to, and as whom."""

import json
import os
from pathlib import Path

import pytest

from rivet.cli.failures import Failed
from rivet.cli.server import find_server, server
from rivet.local.processes import identity_of


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("RIVET_URL", "RIVET_TOKEN", "RIVET_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RIVET_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put_state(home: Path, *, started: int = 0, phase: str = "ready") -> None:
    here = identity_of(os.getpid())
    assert here is not None
    (home / "token").write_text("rvt_admin_local\n")
    state = {
        "pid": here.pid,
        "started": here.started + started,
        "state": phase,
        "url": "http://127.0.0.1:9",
        "token_file": str(home / "token"),
    }
    (home / "state.json").write_text(json.dumps(state))


def test_the_local_system_is_found_without_asking(home: Path) -> None:
    put_state(home)
    found = server()
    assert (found.url, found.token) == ("http://127.0.0.1:9", "rvt_admin_local")


def test_the_environment_goes_before_the_local_system(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_state(home)
    monkeypatch.setenv("RIVET_URL", "http://127.0.0.1:10")
    monkeypatch.setenv("RIVET_TOKEN", "rvt_mine")
    assert (server().url, server().token) == ("http://127.0.0.1:10", "rvt_mine")


def test_the_local_token_is_not_sent_to_another_server(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_state(home)
    monkeypatch.setenv("RIVET_URL", "http://127.0.0.1:10")
    assert server().token == ""


def test_a_configuration_file_is_read(home: Path) -> None:
    (home / "rivet.toml").write_text('RIVET_URL = "http://127.0.0.1:11"\nrivet_token = "rvt_file"\n')
    assert (server().url, server().token) == ("http://127.0.0.1:11", "rvt_file")


@pytest.mark.parametrize("what", ["none", "dead", "starting", "torn"])
def test_without_a_server_the_way_out_is_said(home: Path, what: str) -> None:
    if what == "dead":
        put_state(home, started=-1)
    elif what == "starting":
        put_state(home, phase="starting")
    elif what == "torn":
        (home / "state.json").write_text("{")
    assert find_server() is None
    with pytest.raises(Failed, match="`rivet up` starts one on this machine"):
        server()
