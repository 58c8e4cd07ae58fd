"""`rivet up`, `down`, `status`: the local system as its user sees it."""

import json
import os
import signal
import socket
import stat
from pathlib import Path

import pytest

from .conftest import Terminal

PARTS = {"postgresql", "redis", "api", "control", "runner", "flower"}


def status_of(terminal: Terminal) -> dict[str, object]:
    return dict(json.loads(terminal.rivet("status", "--json").stdout))


def test_status_names_every_address_and_part(terminal: Terminal) -> None:
    status = status_of(terminal)
    assert status["ready"] == {"status": "ready"}
    assert {part["name"]: part["state"] for part in status["parts"]} == dict.fromkeys(PARTS, "running")
    token = Path(str(status["token_file"]))
    assert token.read_text().startswith("rvt_admin_")
    assert len(token.read_text().split()) == 1
    text = terminal.rivet("status").stdout
    assert str(status["url"]) in text
    assert str(status["flower_url"]) in text
    assert terminal.rivet("status", "--logs", "api").returncode == 0


def test_nothing_of_a_home_is_readable_by_others(terminal: Terminal) -> None:
    for path in (terminal.home, *(terminal.home / name for name in ("keys", "tokens", "logs", "redis"))):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for file in (
        *terminal.home.glob("keys/*"),
        *terminal.home.glob("tokens/*"),
        terminal.home / "state.json",
    ):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_no_secret_stands_in_an_argument_list(terminal: Terminal) -> None:
    secrets = [
        file.read_text().strip() for file in (*terminal.home.glob("keys/*"), *terminal.home.glob("tokens/*"))
    ]
    assert len(secrets) >= 5
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = process.read_text(errors="replace")
        except OSError:
            continue
        assert not [secret for secret in secrets if secret in arguments]
    for log in terminal.home.glob("logs/*.log"):
        assert not [secret for secret in secrets if secret in log.read_text(errors="replace")]


def test_a_second_up_says_that_it_is_already_running(terminal: Terminal) -> None:
    for more in ((), ("--detach",)):
        done = terminal.rivet("up", *more)
        assert done.returncode == 0
        assert "already running" in done.stdout
    refused = terminal.rivet("up", "--port", "9")
    assert refused.returncode == 3
    assert "rivet down" in refused.stderr


def test_a_port_in_use_is_refused_and_nothing_is_left(fresh: Terminal) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        for more in ((), ("--detach",)):
            done = fresh.rivet("up", "--port", str(port), *more)
            assert done.returncode == 3
            assert f"port {port} cannot be used" in done.stderr
    assert fresh.rivet("status").returncode == 3
    assert not (fresh.home / "postgresql").exists()


@pytest.mark.timeout(180)
def test_run_starts_the_local_system_by_itself_and_says_so(fresh: Terminal) -> None:
    file = fresh.pipeline("first", 'log.info("hello")')
    done = fresh.rivet("run", file, RIVET_PORT="0")
    assert done.returncode == 0, done.stderr
    assert "  | hello" in done.stdout
    assert "keeps running; stop it with `rivet down`" in done.stderr
    assert status_of(fresh)["state"] == "ready"
    stopped = fresh.rivet("down")
    assert stopped.stdout == "Rivet is stopped.\n"
    assert fresh.rivet("down").stdout == "Rivet does not run.\n"
    assert fresh.rivet("status").returncode == 3


@pytest.mark.timeout(180)
def test_it_comes_up_again_after_a_kill_and_ctrl_c_ends_it(fresh: Terminal) -> None:
    first = fresh.begin("up", "--port", "0", "--flower-port", "0")
    assert first.stdout is not None
    assert any("Stop it with" in line for line in first.stdout)
    parts = {part["name"]: part["pid"] for part in status_of(fresh)["parts"]}
    file = fresh.pipeline("kept", 'log.info("hello")')
    assert fresh.rivet("run", file).returncode == 0
    first.kill()
    first.communicate()

    second = fresh.begin("up", "--port", "0", "--flower-port", "0")
    assert second.stdout is not None
    assert any("Stop it with" in line for line in second.stdout)
    for name, pid in parts.items():
        assert not os.path.exists(f"/proc/{pid}/exe") or name not in Path(f"/proc/{pid}/cmdline").read_text()
    assert "kept#1" in fresh.rivet("runs", "list").stdout
    assert fresh.rivet("run", "kept").returncode == 0
    second.send_signal(signal.SIGINT)
    _, told = second.communicate(timeout=60)
    assert second.returncode == 0
    assert "stopping" in told
    assert fresh.rivet("status").returncode == 3


@pytest.mark.timeout(180)
def test_with_servers_of_one_s_own_nothing_embedded_starts(
    fresh: Terminal, database_url: str, redis_url: str
) -> None:
    own = {"RIVET_DATABASE_URL": database_url, "RIVET_BROKER_URL": redis_url}
    done = fresh.rivet("up", "--detach", "--port", "0", "--flower-port", "0", **own)
    assert done.returncode == 0, done.stderr
    assert {part["name"] for part in status_of(fresh)["parts"]} == PARTS - {"postgresql", "redis"}
    assert not (fresh.home / "postgresql").exists()
    assert fresh.rivet("run", fresh.pipeline("own", 'log.info("hello")')).returncode == 0


def test_servers_that_are_not_there_are_named_and_nothing_is_left(fresh: Terminal) -> None:
    own = {
        "RIVET_DATABASE_URL": "postgresql://rivet:hidden@127.0.0.1:1/rivet",
        "RIVET_BROKER_URL": "redis://127.0.0.1:1/0",
    }
    done = fresh.rivet("up", "--detach", "--port", "0", "--flower-port", "0", **own)
    assert done.returncode == 3
    assert "prepare ended with exit code 1" in done.stderr
    assert "hidden" not in done.stderr
    assert fresh.rivet("status").returncode == 3
