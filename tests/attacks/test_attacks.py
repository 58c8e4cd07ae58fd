"""A part of the attacks that takes seconds, as root's runner or an ordinary user's; `make attacks` plays all."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .canaries import Canaries
from .cases import Case, UnreadableCases, read_cases
from .controls.pretend import caught
from .controls.weaknesses import CONTROLS
from .judge import judge_told
from .listeners import allowed_server, name_server
from .outcome import Line, Told
from .play import Player
from .target import target

HERE = Path(__file__).parent
GIVEN = {case.name: case for case in read_cases(HERE / "given.lua.txt")}
OWN = {case.name: case for case in read_cases(HERE / "own.lua.txt")}

QUICK = (
    "pyobj-attrs-on-module-functions", "python-global", "stdlib-remnants", "destroy-the-environment",
    "string-doubling", "terminal-escapes-in-log", "git-url-ssh-proxycommand", "git-config-planted-in-workspace",
    "cwd-escape-symlink", "orphan-holds-stdout-open", "read-parent-environ", "read-shadow-and-root-files",
    "connect-broker-and-abstract-socket", "mount-and-sysctl", "ssrf-localhost-spellings",
    "ssrf-redirect-to-internal", "secret-of-another-project", "artifact-path-escape", "timeout-out-of-range",
    "own-prelude-works", "own-secret-rebuilt-in-lua", "own-calls-of-the-kernel", "own-agent-of-the-room",
)  # fmt: skip


@pytest.fixture(scope="module")
def player() -> Iterator[Player]:
    with allowed_server() as port, name_server() as names, target(
        ordinary=False, slots=3, allowed_port=port, name_server=names
    ) as system:
        yield Player(system, 3, "rebind.test" if names and os.geteuid() == 0 else None)


def test_what_is_tried_in_a_moment_holds(player):
    verdicts = player.play([(GIVEN | OWN)[name] for name in QUICK])
    assert {verdict.case.name: verdict.why for verdict in verdicts if verdict.word != "held"} == {}
    assert player.after_all() == []


@pytest.mark.parametrize(
    ("name", "control", "seen"),
    [
        ("python-global", "plain-lupa", "it says: PWNED"),
        ("read-parent-environ", "passed-environment", "it says: PWNED parent environment"),
        ("connect-broker-and-abstract-socket", "shared-network", "reached BROKER_PORT"),
        ("orphan-holds-stdout-open", "plain-subprocess", "a process named RIVETORPHAN2 is alive"),
        ("write-other-workspace", "plain-subprocess", "another run's workspace was changed"),
        ("terminal-escapes-in-log", "no-masking", "raw control bytes are stored"),
        ("secret-reversed-in-log (limit of masking)", "no-masking", "leaked: secret CANARY_TOKEN (reversed)"),
        ("git-url-ssh-proxycommand", "trusting-modules", "/tmp/pwned-git was made on the host"),
    ],
)
def test_the_checks_see_what_a_weak_sandbox_lets_through(name, control, seen):
    weak = next(each for each in CONTROLS if each.name == control)
    found = caught(GIVEN[name], weak, seconds=2)
    assert any(seen in finding for finding in found), found


def told(text: str = "", *, outcome: str = "safe", stream: str = "log", milliseconds: float = 1.0) -> Told:
    return Told(outcome, "", milliseconds, [Line(stream, text)], [], text.encode())


ANY = Case("any", frozenset({"safe"}), "")


@pytest.mark.parametrize(
    ("what", "seen"),
    [
        (told("PWNED"), ["it says: PWNED"]),
        (told("PWNED", stream="stdout"), []),
        (told("a\x1b[2J"), ["raw control bytes are stored in the log: 'a\\x1b[2J'"]),
        (told("a\x9b1m"), ["raw control bytes are stored in the log: 'a\\x9b1m'"]),
        (told(outcome="crash"), ["ended crash, not safe: "]),
        (told(milliseconds=20_000), ["it took 20.0 s, and 1 s were allowed"]),
    ],
)
def test_each_rule_is_seen_to_be_broken(what, seen):
    assert judge_told(ANY, what, Canaries(), seconds=1).findings == seen


def test_a_forged_end_is_no_end():
    case = Case("forge-host-protocol", frozenset({"safe", "error"}), "")
    assert judge_told(case, told(), Canaries(), seconds=1).word == "breached"


def test_a_canary_is_found_in_every_form():
    canaries = Canaries()
    for name in canaries.texts:
        secret = canaries[name].encode()
        for form in (secret, secret[::-1], secret.hex().encode(), secret.hex().upper().encode()):
            assert canaries.found_in(b"x" + form + b"y"), (name, form)


def test_a_file_without_a_case_is_refused(tmp_path):
    (tmp_path / "none.txt").write_text("# nothing\n")
    with pytest.raises(UnreadableCases, match="holds no case"):
        read_cases(tmp_path / "none.txt")


def test_an_unknown_placeholder_stays_and_containers_are_told_by_their_call():
    case = Case("x", frozenset(), "@@HTTP_PORT@@ @@SOMETHING@@")
    assert case.filled({"HTTP_PORT": "1"}) == "1 @@SOMETHING@@"
    assert Case("x", frozenset(), "pcall(docker.run,{})").names_containers
    assert not Case("x", frozenset(), 't("/var/run/docker.sock") -- docker.run').names_containers
