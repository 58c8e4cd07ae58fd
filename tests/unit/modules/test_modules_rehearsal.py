"""What a script is answered in a plan: nothing is done, everything is checked and noted."""

import pytest

from rivet.domain.secret import Opaque
from rivet.modules.contract import CallError
from rivet.modules.registry import FUNCTIONS
from rivet.modules.rehearsal import MOST_NOTED, MOST_SHOWN, Rehearsal

EXAMPLES = {
    "artifacts.upload": [{"name": "w", "path": "a"}], "artifacts.download": [{"name": "w"}],
    "base64.encode": ["a"], "base64.decode": ["YQ=="], "cache.restore": [{"key": "k", "paths": "a"}],
    "cache.save": [{"key": "k", "paths": "a"}], "env.get": ["A"], "env.require": ["A"], "env.has": ["A"],
    "fs.read": ["a"], "fs.write": ["a", "b"], "fs.append": ["a", "b"], "fs.exists": ["a"], "fs.stat": ["a"],
    "fs.glob": ["*"], "fs.mkdir": ["a"], "fs.remove": ["a"], "fs.copy": ["a", "b"], "fs.move": ["a", "b"],
    "git.clone": [{"url": "https://example.org/a.git"}], "git.checkout": ["main"],
    "git.changed_files": ["main"], "hash.sha256": ["a"], "hash.files": ["*"],
    "http.request": [{"url": "https://example.org/", "method": "GET"}], "http.get": ["https://example.org/"],
    "http.post": ["https://example.org/"], "http.put": ["https://example.org/"],
    "http.delete": ["https://example.org/"], "input.get": ["n"], "input.require": ["n"], "input.has": ["n"],
    "json.encode": [{"a": 1}], "json.decode": ["[]"], "json.array": [[]], "log.debug": ["a"],
    "log.info": ["a"], "log.warn": ["a"], "log.error": ["a"], "log.annotate": [{"message": "m"}],
    "log.group": ["g"], "output.set": ["v", 1], "output.get": ["v"], "output.require": ["v"],
    "output.has": ["v"], "output.list": ["v"], "process.run": [{"command": "true"}],
    "process.start": [{"command": "true"}], "process.which": ["sh"], "run.summary": ["s"],
    "secrets.get": ["TOKEN"], "time.sleep": [1],
}  # fmt: skip


@pytest.fixture
def rehearsal():
    return Rehearsal({"A": "a"}, {"n": 3}, {"v": "1.0"}, {"id": "r"})


def plain_calls():
    for module, calls in FUNCTIONS.items():
        for name, call in calls.items():
            if call.of_handle is None and call.binding != "local" and module != "report":
                yield f"{module}.{name}"


@pytest.mark.parametrize("title", list(plain_calls()))
def test_every_function_is_answered_and_noted_and_nothing_is_done(title, rehearsal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module, _, name = title.partition(".")
    rehearsal.call(module, name, EXAMPLES.get(title, []))
    assert rehearsal.noted[-1].call.startswith(f"{title}(")
    assert list(tmp_path.iterdir()) == []


def test_what_is_known_is_answered_and_what_is_not_is_marked_as_assumed(rehearsal):
    assert rehearsal.call("input", "get", ["n"]) == 3
    assert rehearsal.call("output", "get", ["v"]) == "1.0"
    rehearsal.call("output", "set", ["v", "2.0"])
    assert rehearsal.call("output", "require", ["v"]) == "2.0"
    assert rehearsal.call("process", "run", [{"command": "x", "capture": True}])["exit_code"] == 0
    assert [noted.assumed for noted in rehearsal.noted] == [False, False, False, False, True]


def test_a_wrong_call_fails_as_it_would(rehearsal):
    with pytest.raises(CallError, match='has no field "comand"'):
        rehearsal.call("process", "run", [{"comand": "x"}])
    with pytest.raises(CallError, match="a plan cannot call it"):
        rehearsal.call("semver", "parse", ["1"])


def test_secrets_are_named_and_never_there(rehearsal):
    value = rehearsal.call("secrets", "get", ["TOKEN"])
    assert isinstance(value, Opaque)
    rehearsal.call("process", "run", [{"command": "deploy", "env": {"T": value}}])
    assert rehearsal.secrets == ["TOKEN"]
    assert rehearsal.noted[-1].call.endswith("env = {T = <secret TOKEN>}})")


def test_a_process_in_the_background_is_seen_to_run_and_to_end(rehearsal):
    handle = rehearsal.call("process", "start", [{"command": "server"}])
    assert rehearsal.call("process", "start:running", [handle]) is True
    assert rehearsal.call("process", "start:running", [handle]) is False
    assert rehearsal.call("process", "start:wait", [handle])["exit_code"] == 0
    assert rehearsal.noted[-1].call == "h:wait()"


def test_what_is_noted_is_bounded(rehearsal):
    for _ in range(MOST_NOTED + 5):
        rehearsal.call("log", "info", ["x"])
    assert (len(rehearsal.noted), rehearsal.left_out) == (MOST_NOTED, 5)
    short = Rehearsal({}, {}, {}, {})
    short.call("process", "run", [{"command": "x", "args": ["y" * 70] * 10}])
    assert len(short.noted[0].call) == MOST_SHOWN
