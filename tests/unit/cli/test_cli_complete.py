"""What shells complete: the scripts, and names that are asked for a second at most."""

import socket
import time

import click
import pytest
from click.testing import CliRunner

from rivet.cli.complete import ASKED_FOR_S, pipeline_names, run_names
from rivet.cli.completion import completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_that_asks_rivet(shell):
    done = CliRunner().invoke(completion, [shell])
    assert done.exit_code == 0
    assert f"_RIVET_COMPLETE={shell}_complete" in done.stdout


def test_a_server_that_does_not_answer_costs_a_second_at_most(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("RIVET_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        context = click.Context(completion)
        begun = time.monotonic()
        assert run_names(context, completion.params[0], "") == []
        assert time.monotonic() - begun < ASKED_FOR_S + 1


def test_without_a_server_there_is_nothing_to_complete(monkeypatch, tmp_path):
    monkeypatch.delenv("RIVET_URL", raising=False)
    monkeypatch.setenv("RIVET_HOME", str(tmp_path))
    assert pipeline_names(click.Context(completion), completion.params[0], "") == []
