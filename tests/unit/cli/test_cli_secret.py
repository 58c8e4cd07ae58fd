"""`rivet secret`: where a value is taken from, and how its users are told."""

import base64
import io
import json
import sys
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from rivet.cli import secret as command
from rivet.cli.failures import Failed


class Server:
    """Remembers what was sent, and answers with a secret."""

    def __init__(self):
        self.sent = []
        self.answer = {
            "name": "TOKEN", "pipelines": ["demo", "other"], "branches": ["main"], "all_pipelines": False,
            "set_by": "alice", "updated_at": "2030-01-01T00:00:00Z", "warnings": ["too short"],
        }

    def call(self, method, path, body=None):
        self.sent.append((method, path, body))
        return self.answer if method == "PUT" else {"items": [self.answer], "next_cursor": None}


@pytest.fixture
def server(monkeypatch):
    server = Server()
    monkeypatch.setattr(command, "server", lambda: server)
    return server


@pytest.fixture
def invoke():
    return lambda *arguments, given=b"": CliRunner().invoke(command.secret, arguments, input=given)


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (b"word\n", b"word"),
        (b"word\r\n", b"word"),
        (b"word", b"word"),
        (b"two\nlines\n", b"two\nlines\n"),
        (b"\x00\xff", b"\x00\xff"),
    ],
)
def test_standard_input_is_the_value_and_a_single_line_is_meant_without_its_end(server, invoke, given, value):
    done = invoke("set", "TOKEN", "--pipeline", "demo", given=given)
    assert done.exit_code == 0, done.output
    method, path, body = server.sent[0]
    assert (method, path) == ("PUT", "/projects/default/secrets/TOKEN")
    assert base64.b64decode(body["base64"]) == value
    assert body["pipelines"] == ("demo",)


def test_a_file_is_the_value_to_the_last_byte(server, invoke, tmp_path):
    (tmp_path / "key").write_bytes(b"word\n")
    assert invoke("set", "TOKEN", "--file", str(tmp_path / "key")).exit_code == 0
    assert invoke("set", "TOKEN", "--file", "-", given=b"word\n").exit_code == 0
    assert [base64.b64decode(body["base64"]) for _, _, body in server.sent] == [b"word\n"] * 2
    assert "pipelines" not in server.sent[0][2]


def test_a_person_types_the_value_unseen(server, monkeypatch):
    asked = []
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(command.click, "prompt", lambda text, **how: asked.append((text, how)) or "typed")
    assert command._value("TOKEN", None) == b"typed"
    assert asked[0][1]["hide_input"]
    assert asked[0][1]["confirmation_prompt"]


def test_the_value_is_never_an_argument(invoke, server):
    assert invoke("set", "TOKEN", "value", "--pipeline", "demo").exit_code == 2
    assert server.sent == []


@pytest.mark.parametrize(("given", "words"), [(b"", "has nothing in it"), (b"x" * 65537, "over 65536 bytes")])
def test_a_value_of_no_or_too_many_bytes_is_refused_here(given, words, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
    with pytest.raises(Failed, match=words):
        command._value("TOKEN", None)


def test_what_was_set_is_told_with_its_users_and_warnings(server, invoke):
    done = invoke("set", "TOKEN", "--all-pipelines", "--branch", "main", given=b"x")
    assert done.stdout == "set TOKEN for demo, other on main\n"
    assert done.stderr == "Warning: too short\n"
    assert server.sent[0][2]["all_pipelines"] is True


def test_secrets_are_listed_for_people_and_machines(server, invoke):
    assert "demo, other on main" in invoke("list").stdout
    assert json.loads(invoke("list", "--json").stdout)["items"][0]["name"] == "TOKEN"


def test_a_secret_is_deleted_by_its_name(server, invoke):
    assert invoke("delete", "TOKEN", "--project", "a b").stdout == "deleted TOKEN\n"
    assert server.sent == [("DELETE", "/projects/a%20b/secrets/TOKEN", None)]
