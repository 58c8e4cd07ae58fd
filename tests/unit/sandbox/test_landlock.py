"""Landlock rulesets, tried on real processes."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from rivet.sandbox.isolation import landlock
from rivet.sandbox.isolation.host_entry import HostEntry
from rivet.sandbox.isolation.landlock import NoLandlock, Rules, make_ruleset, outermost


def under(rules: Rules, act: Callable[[], object]) -> str:
    """What became of an act in a process that has entered a ruleset: `done`, or the name of the exception."""
    ruleset = make_ruleset(rules)
    entry = HostEntry(None, 100, ruleset, None)
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        word = b"done"
        try:
            entry()
            act()
        except OSError as error:
            word = type(error).__name__.encode()
        finally:
            os.write(tell, word)
            os._exit(0)
    os.close(tell)
    word = os.read(told, 100).decode()
    os.waitpid(pid, 0)
    os.close(told)
    os.close(ruleset)
    return word


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ("read", "write", "closed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("content")
    return tmp_path


def test_what_may_be_read_is_not_written_and_the_rest_is_neither(folders):
    rules = Rules(read=(folders / "read",), write=(folders / "write",))
    assert under(rules, (folders / "read" / "file").read_text) == "done"
    assert under(rules, (folders / "write" / "file").read_text) == "done"
    assert under(rules, (folders / "closed" / "file").read_text) == "PermissionError"
    for name, word in (("read", "PermissionError"), ("write", "done"), ("closed", "PermissionError")):
        for act in (
            lambda name=name: (folders / name / "new").write_text("x"),
            lambda name=name: (folders / name / "folder").mkdir(),
            lambda name=name: os.mkfifo(folders / name / "pipe"),
            lambda name=name: (folders / name / "link").symlink_to("x"),
            lambda name=name: os.truncate(folders / name / "file", 0),
            lambda name=name: (folders / name / "file").unlink(),
        ):
            assert under(rules, act) == word, name


def test_files_are_moved_within_what_may_be_written_and_not_out_of_it(folders):
    (folders / "write" / "inner").mkdir()
    rules = Rules(read=(folders / "read",), write=(folders / "write",))
    move = lambda where: lambda: os.rename(folders / "write" / "file", folders / where / "moved")  # noqa: E731
    assert under(rules, move("closed")) in ("PermissionError", "OSError")
    assert under(rules, move("read")) in ("PermissionError", "OSError")
    assert under(rules, move("write/inner")) == "done"


def test_a_single_file_may_be_named_and_what_is_not_there_is_passed_over(folders):
    rules = Rules(read=(folders / "closed" / "file", folders / "not there", folders / "read" / "file" / "x"))
    assert under(rules, (folders / "closed" / "file").read_text) == "done"
    assert under(rules, (folders / "read" / "file").read_text) == "PermissionError"


def test_a_device_is_used_and_not_run_or_replaced():
    rules = Rules(devices=(Path("/dev/null"),))
    assert under(rules, lambda: Path("/dev/null").write_text("x")) == "done"
    assert under(rules, lambda: Path("/dev/zero").open("rb").close()) == "PermissionError"


def test_one_port_is_connected_to_and_none_is_bound():
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [each.getsockname()[1] for each in (one, other)]
        to = lambda port: lambda: socket.create_connection(("127.0.0.1", port), 5).close()  # noqa: E731
        assert [under(Rules(port=ports[0]), to(port)) for port in ports] == ["done", "PermissionError"]
        assert [under(Rules(), to(port)) for port in ports] == ["PermissionError"] * 2
    assert under(Rules(port=ports[0]), lambda: socket.socket().bind(("127.0.0.1", 0))) == "PermissionError"


def test_signals_and_abstract_sockets_stay_within():
    parent = os.getpid()
    assert under(Rules(), lambda: os.kill(parent, 0)) == "PermissionError"
    with socket.socket(socket.AF_UNIX) as listener:
        name = f"\0rivet-landlock-{parent}"
        listener.bind(name)
        listener.listen()
        assert under(Rules(), lambda: socket.socket(socket.AF_UNIX).connect(name)) == "PermissionError"


def test_a_path_named_twice_has_both_rights(tmp_path):
    rules = Rules(read=(tmp_path,), write=(tmp_path,), devices=(Path("/dev/null"),))
    assert rules.rights() == {
        tmp_path: landlock.READ | landlock.WRITE,
        Path("/dev/null"): landlock.READ_FILE | landlock.WRITE_FILE,
    }


def test_paths_within_others_are_not_named_again():
    paths = [Path("/usr/lib"), Path("/usr"), Path("/etc/ssl"), Path("/usr")]
    assert set(outermost(paths)) == {Path("/usr"), Path("/etc/ssl")}


def test_devices_are_never_made_and_never_controlled():
    for rights in (landlock.READ, landlock.WRITE, landlock.USE_DEVICE):
        for never in (landlock.MAKE_DEVICE, landlock.MAKE_BLOCK_DEVICE, landlock.MAKE_SOCKET, landlock.DEVICE_CONTROL):
            assert not rights & never
    assert not landlock.READ & (landlock.WRITE_FILE | landlock.TRUNCATE | landlock.MAKE_FILE | landlock.REMOVE_FILE)


def test_a_kernel_that_is_too_old_is_refused(monkeypatch):
    monkeypatch.setattr(landlock, "LEAST_ABI", 1000)
    with pytest.raises(NoLandlock, match="1000 or newer"):
        make_ruleset(Rules())
