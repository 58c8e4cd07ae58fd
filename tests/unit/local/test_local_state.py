"""The state of a home, and who holds its lock."""

import os
import stat
from pathlib import Path

import pytest

from rivet.local.home import Home
from rivet.local.processes import Identity, identity_of
from rivet.local.state import State, is_locked, read_state, running_state, take_lock, write_state


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.prepare()
    return made


def a_state(supervisor: Identity) -> State:
    parts = ({"name": "api", "pid": 7, "started": 8, "state": "running"}, {"name": "redis", "pid": None})
    return State(supervisor, "ready", "http://127.0.0.1:1", "http://127.0.0.1:2", "/t", parts, ("note",))


def test_what_was_written_is_read(home: Home) -> None:
    state = a_state(Identity(1, 2))
    write_state(home, state)
    assert read_state(home) == state
    assert stat.S_IMODE(home.state_file.stat().st_mode) == 0o600
    assert state.part_identities() == [("api", Identity(7, 8))]


def test_a_torn_state_is_no_state(home: Home) -> None:
    home.state_file.write_text('{"pid": 1')
    assert read_state(home) is None


def test_a_pid_that_now_belongs_to_another_runs_nothing(home: Home) -> None:
    here = identity_of(os.getpid())
    assert here is not None
    write_state(home, a_state(here))
    assert running_state(home) is not None
    write_state(home, a_state(Identity(here.pid, here.started - 1)))
    assert running_state(home) is None


def test_a_home_is_held_by_one(home: Home) -> None:
    assert not is_locked(home)
    lock = take_lock(home)
    assert lock is not None
    assert take_lock(home) is None
    assert is_locked(home)
    os.close(lock)
    assert not is_locked(home)
