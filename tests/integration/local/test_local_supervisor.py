"""The supervisor with real processes: it starts again what dies, gives up in time, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rivet.local.home import Home
from rivet.local.part import Part
from rivet.local.processes import Identity, identity_of, in_session
from rivet.local.state import is_locked, read_state
from rivet.local.supervisor import MAX_RESTARTS, PartFailed, Supervisor

SCRIPT = textwrap.dedent(
    """
    import os, signal, sys, time
    from pathlib import Path
    from rivet.local.home import Home
    from rivet.local.part import Part
    from rivet.local.state import take_lock
    from rivet.local.supervisor import Supervisor
    from rivet.local.warden import post_warden

    home = Home(Path(sys.argv[1]))
    home.prepare()
    lock = take_lock(home)
    post_warden(home)
    supervisor = Supervisor(home, tell=print)
    supervisor.listen_to_signals()
    # The leader leaves a child that ignores TERM, as a careless part might.
    leaves = "trap '' TERM; sleep 1000 & trap - TERM; wait"
    for name in ("one", "two"):
        supervisor.start(Part(name, ("/bin/sh", "-c", leaves), dict(os.environ), home.path, home.logs / f"{name}.log",
                              ready=lambda: True, patience_s=2.0))
    supervisor.wait_until_ready(("one", "two"), 5.0)
    supervisor.ready()
    print("ready", flush=True)
    supervisor.watch()
    supervisor.stop()
    """
)


def until(holds: Callable[[], bool], seconds: float = 15.0) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.prepare()
    return made


@pytest.fixture
def system(home: Home) -> Iterator[subprocess.Popen[str]]:
    """A supervisor in a process of its own, with two parts."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(home.path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert until(lambda: process.stdout.readline() == "ready\n" or process.poll() is not None)
    assert process.poll() is None
    yield process
    process.kill()
    process.wait()
    process.stdout.close()
    assert until(lambda: not is_locked(home))


def parts_of(home: Home) -> dict[str, Identity]:
    state = read_state(home)
    return dict(state.part_identities()) if state else {}


def everything_of(home: Home) -> list[Identity]:
    return [one for part in parts_of(home).values() for one in in_session(part.pid)]


def test_a_part_that_died_is_started_again(home: Home, system: subprocess.Popen[str]) -> None:
    before = parts_of(home)
    child = next(one for one in in_session(before["one"].pid) if one != before["one"])
    before["one"].send(signal.SIGKILL)
    assert until(lambda: parts_of(home)["one"] != before["one"] and parts_of(home)["one"].is_alive())
    assert not child.is_alive(), "what a dead part left running must be gone before it starts again"
    assert parts_of(home)["two"] == before["two"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything(home: Home, system: subprocess.Popen[str], number: signal.Signals) -> None:
    everything = everything_of(home)
    assert len(everything) == 4
    system.send_signal(number)
    assert system.wait(15) == 0
    assert not [one for one in everything if one.is_alive()]
    assert read_state(home) is None


def test_killing_the_supervisor_ends_everything(home: Home, system: subprocess.Popen[str]) -> None:
    everything = everything_of(home)
    system.kill()
    assert until(lambda: not [one for one in everything if one.is_alive()])
    assert until(lambda: not is_locked(home))
    assert read_state(home) is None


def test_a_part_that_dies_again_and_again_is_left_down_and_told(home: Home) -> None:
    told: list[str] = []
    supervisor = Supervisor(home, tell=told.append)
    log = home.logs / "sick.log"
    part = Part(
        "sick", ("/bin/sh", "-c", "echo it hurts; exit 7"), dict(os.environ), home.path, log, lambda: False
    )
    supervisor.start(part)
    watched = supervisor._parts["sick"]
    for _ in range(600):
        supervisor._sleep(0.02)
        watched.again_at = watched.again_at and 0.0  # no waiting between the tries
        supervisor._look_after(watched)
        if watched.state == "failed":
            break
    supervisor.stop()
    assert watched.state == "failed"
    assert len(told) == MAX_RESTARTS + 1
    assert "it is left down" in told[-1]
    assert "it hurts" in told[-1]


def test_a_part_that_ends_while_starting_says_why(home: Home) -> None:
    supervisor = Supervisor(home, tell=lambda _: None)
    log = home.logs / "sick.log"
    part = Part(
        "sick", ("/bin/sh", "-c", "echo no room; exit 7"), dict(os.environ), home.path, log, lambda: False
    )
    supervisor.start(part)
    with pytest.raises(PartFailed, match=r"(?s)sick ended with exit code 7 before it was ready.*no room"):
        supervisor.wait_until_ready(["sick"], 10)
    supervisor.stop()


def test_waiting_for_a_part_is_bounded(home: Home) -> None:
    supervisor = Supervisor(home, tell=lambda _: None)
    part = Part("slow", ("/bin/sleep", "100"), {}, home.path, home.logs / "slow.log", lambda: False)
    supervisor.start(part)
    with pytest.raises(PartFailed, match="slow was not ready in 0 s"):
        supervisor.wait_until_ready(["slow"], 0.2)
    running = parts_of(home)["slow"]
    supervisor.stop()
    assert not running.is_alive()


def test_an_identity_is_of_one_process_only() -> None:
    process = subprocess.Popen(["/bin/sleep", "100"])
    identity = identity_of(process.pid)
    assert identity is not None
    assert identity.is_alive()
    process.kill()
    assert identity.wait(5), "a process that was killed counts as ended before anybody collects it"
    process.wait()
    assert identity_of(process.pid) != identity
