"""The probe tries this machine's isolation for real, and says what would mend what it lacks."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from rivet.domain.isolation import NotHad, chosen
from rivet.sandbox import seccomp
from rivet.sandbox.isolation import (
    bubblewrap,
    built,
    enclosure,
    host,
    landlock,
    probe,
    warm,
    wrapped,
)
from rivet.sandbox.isolation.bind import Bind


def test_this_machine_gives_namespaces():
    found = probe.probe("namespaces")
    assert (found.level, found.holds, found.mend, found.gaps) == ("namespaces", True, "", ())
    assert "bubblewrap 0." in found.detail


def test_this_machine_gives_landlock_and_says_what_that_leaves_open():
    found = probe.probe("landlock")
    assert (found.level, found.holds) == ("landlock", True), found.detail
    assert found.detail.startswith("Landlock ")
    seen = "it is seen which files of the host are there, whose and how large"
    changed = "modes and times of files of the runner's own user can be changed"
    assert found.gaps == ((seen,) if os.geteuid() == 0 else (seen, changed))


def test_with_none_all_that_landlock_would_hold_is_told_as_open():
    found = probe.probe("none")
    assert found.holds
    for words in ("files of the host can be read", "loopback is reached", "Unix sockets", "datagrams", "listen"):
        assert any(words in gap for gap in found.gaps), words


@pytest.mark.parametrize(
    ("what", "leak"),
    [
        ("read", "files of the host can be read"),
        ("network", "the host's loopback is reached"),
        ("calls", "datagrams (UDP) get to the host's loopback"),
    ],
)
def test_landlock_that_leaks_is_not_taken(what, leak, monkeypatch, tmp_path):
    rules = host.HostEnclosure.rules
    if what == "read":
        wider = {"read": (Path("/"),)}
        monkeypatch.setattr(host.HostEnclosure, "rules", lambda self: replace(rules(self), **wider))
    elif what == "network":
        monkeypatch.setattr(landlock, "EVERY_TCP_RIGHT", 0)
        monkeypatch.setattr(host.HostEnclosure, "rules", lambda self: replace(rules(self), port=None))
    else:
        monkeypatch.setattr(host, "deny_list_without_namespaces", lambda network: seccomp.deny_list())
    found = probe.probe("landlock")
    assert not found.holds
    assert leak in found.detail


def test_auto_takes_landlock_where_namespaces_cannot_be_had_and_says_so(monkeypatch):
    def nothing_starts(*_: object, **__: object) -> None:
        raise enclosure.CannotEnclose("no user namespaces")

    monkeypatch.setattr(probe, "enclose", nothing_starts)
    taken = chosen("auto", probe.probe)
    assert taken.level == "landlock"
    assert [(missed.level, "no user namespaces" in missed.detail) for missed in taken.missed] == [("namespaces", True)]
    with pytest.raises(NotHad, match="no user namespaces"):
        chosen("namespaces", probe.probe)


def test_an_old_kernel_is_told_what_it_takes(monkeypatch):
    monkeypatch.setattr(landlock, "LEAST_ABI", 1000)
    found = probe.probe("landlock")
    assert not found.holds
    assert "1000 or newer" in found.detail
    assert found.mend


def test_a_home_that_stages_cannot_get_to_is_named(host_folder):
    closed = host_folder / "closed"
    closed.mkdir(mode=0o700)
    found = probe.probe("landlock", home=closed / "rivet")
    if os.geteuid() != 0:
        assert found.holds, "rooms of an ordinary user's get wherever that user does"
        return
    assert not found.holds
    assert f"set RIVET_HOME to a folder such as /var/lib/rivet, or chmod o+x {closed}" in found.detail


def test_a_forked_room_that_leaks_is_no_room(monkeypatch):
    weakened = "rivet.sandbox.isolation.kernel.Filter.enter = lambda self: None\nrivet.sandbox.isolation.builder.main("
    monkeypatch.setattr(warm, "_PROGRAM", warm._PROGRAM.replace("rivet.sandbox.isolation.builder.main(", weakened))
    monkeypatch.setattr(built, "_LINKS", (*built._LINKS, Bind(Path("/tmp"), "/tmp", writable=True)))
    found = probe.probe("namespaces")
    assert not found.holds
    assert "no filter of system calls is on" in found.detail
    assert "files of the host can be read" in found.detail
    assert found.mend


def test_a_room_of_bubblewrap_that_leaks_is_no_room(monkeypatch):
    arguments = wrapped._arguments

    def with_the_hosts_network_and_files(*args, **more):
        return [*[a for a in arguments(*args, **more) if a != "--unshare-net"], "--ro-bind", "/tmp", "/tmp"]

    monkeypatch.setattr(wrapped, "_arguments", with_the_hosts_network_and_files)
    monkeypatch.setattr(warm, "_PROGRAM", "raise SystemExit('not here')")
    found = probe.probe("namespaces")
    assert not found.holds
    assert "the host's loopback is reached" in found.detail
    assert found.mend


def test_without_bubblewrap_it_says_how_to_install_it(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(bubblewrap, "_of_the_wheel", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    bubblewrap.find_bubblewrap.cache_clear()
    try:
        found = probe.probe("namespaces")
    finally:
        bubblewrap.find_bubblewrap.cache_clear()
    assert not found.holds
    assert "pip install" in found.mend


def test_an_old_or_broken_bubblewrap_is_named(monkeypatch, tmp_path: Path):
    old = tmp_path / "bwrap"
    old.write_text("#!/bin/sh\necho bubblewrap 0.8.0\n")
    old.chmod(0o755)
    monkeypatch.setattr(bubblewrap, "_of_the_wheel", lambda: None)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    bubblewrap.find_bubblewrap.cache_clear()
    try:
        with pytest.raises(bubblewrap.NoBubblewrap, match=r"is 0\.8\.0"):
            bubblewrap.find_bubblewrap()
    finally:
        bubblewrap.find_bubblewrap.cache_clear()


def test_what_went_wrong_while_a_room_was_made_is_in_the_error(opened, tmp_path: Path):
    with pytest.raises(enclosure.CannotEnclose, match=r"not-there|No such file"):
        opened(binds=(enclosure.Bind(tmp_path / "not-there", "/opt/x"),))
