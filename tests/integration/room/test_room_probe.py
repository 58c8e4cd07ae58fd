"""The probe tries this machine's isolation for real, and says what would mend what it lacks."""

import os
from pathlib import Path

import pytest

from rivet.sandbox.isolation import bubblewrap, namespaces, probe


def test_this_machine_gives_namespaces():
    found = probe.probe()
    assert (found.level, found.mend) == ("namespaces", "")
    assert "bubblewrap 0." in found.detail


def test_a_room_that_leaks_is_no_room(monkeypatch):
    arguments = namespaces._arguments

    def with_the_hosts_network_and_files(*args, **more):
        return [*[a for a in arguments(*args, **more) if a != "--unshare-net"], "--ro-bind", "/tmp", "/tmp"]

    monkeypatch.setattr(namespaces, "_arguments", with_the_hosts_network_and_files)
    found = probe.probe()
    assert found.level == "none"
    assert "the host's loopback is reached" in found.detail
    assert found.mend


def test_without_bubblewrap_it_says_how_to_install_it(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(bubblewrap, "_of_the_wheel", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    bubblewrap.find_bubblewrap.cache_clear()
    try:
        found = probe.probe()
    finally:
        bubblewrap.find_bubblewrap.cache_clear()
    assert found.level == "none"
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
    with pytest.raises(namespaces.CannotEnclose, match=r"not-there|No such file"):
        opened(binds=(namespaces.Bind(tmp_path / "not-there", "/opt/x"),))
