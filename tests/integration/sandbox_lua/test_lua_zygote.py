"""The zygote and its children: how they are shut in, and that they end with their owner."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rivet.sandbox import starts
from rivet.sandbox.lua import LuaLimits, NoChild, Script, Zygote, open_script

SPIN = "return { { script = function() while true do end end } }"


def until(holds: Callable[[], bool], within_s: float = 10.0) -> bool:
    end = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def is_gone(pid: int) -> bool:
    try:
        return status_of(pid)["State"].startswith("Z")
    except OSError:
        return True


def opened(zygote: Zygote, source: str = "return {}") -> Script:
    script = open_script(zygote, source, "rivet.lua", LuaLimits(), modules={}, values={}, resolve=False)
    assert isinstance(script, Script)
    return script


def test_a_child_is_shut_in(zygote):
    with opened(zygote) as script:
        status = status_of(script._child.pid)
        limits = Path(f"/proc/{script._child.pid}/limits").read_text()
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
    assert status["CapEff"].strip("0") == ""
    assert status["Uid"].split()[0] != "0"
    for what in ("Max file size", "Max processes", "Max core file size"):
        assert next(line for line in limits.splitlines() if line.startswith(what)).split()[-3] == "0"


def test_started_by_root_a_child_is_who_it_was_told_to_be_and_has_no_network():
    """An ordinary user cannot change who its children are: there they stay what it is."""
    by_root = os.geteuid() == 0
    with Zygote(uid=54321 if by_root else None) as zygote, opened(zygote) as script:
        pid = script._child.pid
        assert status_of(pid)["Uid"].split() == [str(54321 if by_root else os.geteuid())] * 4
        if by_root:
            assert status_of(pid)["Groups"] == ""
            assert os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
            assert len(os.listdir(f"/proc/{pid}/fd")) == 3


def test_a_child_and_the_zygote_have_no_environment(zygote):
    with opened(zygote) as script:
        for pid in (script._child.pid, int(status_of(script._child.pid)["PPid"])):
            if os.geteuid() == 0:
                assert Path(f"/proc/{pid}/environ").read_bytes() == b""


def test_a_killed_script_says_so(zygote):
    script = opened(zygote, SPIN)
    script.kill()
    failure = script.run((1,), lambda *_: None)
    assert (failure.kind, failure.message) == ("crash", "the script was stopped from outside")
    script.close()


def test_a_child_that_is_killed_by_another_says_so(zygote):
    with opened(zygote, SPIN) as script:
        os.kill(script._child.pid, signal.SIGKILL)
        failure = script.run((1,), lambda *_: None)
    assert failure.kind == "crash"
    assert "killed from outside" in failure.message


def test_a_zygote_that_died_is_followed_by_another():
    with Zygote() as zygote:
        with opened(zygote) as script:
            first = int(status_of(script._child.pid)["PPid"])
            os.kill(first, signal.SIGKILL)
            assert until(lambda: is_gone(script._child.pid))
        with opened(zygote) as script:
            assert int(status_of(script._child.pid)["PPid"]) != first


def test_a_zygote_that_dies_too_often_is_given_up(monkeypatch):
    monkeypatch.setattr(starts, "STARTS_A_MINUTE", 2)
    with Zygote() as zygote:
        for _ in range(2):
            with opened(zygote) as script:
                os.kill(int(status_of(script._child.pid)["PPid"]), signal.SIGKILL)
                assert until(lambda: is_gone(script._child.pid))
        with pytest.raises(NoChild, match="died 2 times within a minute"):
            opened(zygote)


def test_a_closed_zygote_ends_its_children_and_forks_no_more():
    zygote = Zygote()
    script = opened(zygote)
    zygote.close()
    assert until(lambda: is_gone(script._child.pid))
    with pytest.raises(NoChild, match="closed"):
        opened(zygote)
    script.close()


def test_all_end_with_an_owner_that_is_killed():
    owner = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from rivet.sandbox.lua import *\n"
            "zygote = Zygote()\n"
            f"script = open_script(zygote, {SPIN!r}, 'x', LuaLimits(cpu_s=60, wall_s=60),"
            " modules={}, values={}, resolve=False)\n"
            "print(script._child.pid, zygote._live.process.pid, flush=True)\n"
            "script.run((1,), print)\n",
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    with owner:
        pids = [int(word) for word in owner.stdout.readline().split()]
        owner.kill()
    assert len(pids) == 2
    assert until(lambda: all(is_gone(pid) for pid in pids))


def test_children_are_reaped(zygote):
    pids = []
    for _ in range(5):
        with opened(zygote) as script:
            pids.append(script._child.pid)
    assert until(lambda: all(not Path(f"/proc/{pid}").exists() for pid in pids))


def test_a_process_that_forked_from_the_owner_gets_a_zygote_of_its_own(zygote):
    pid = os.fork()
    if pid == 0:
        try:
            with opened(zygote) as script:
                os._exit(0 if script.table == {} else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with opened(zygote) as script:
        assert script.table == {}


def test_a_child_answers_within_few_milliseconds(zygote):
    taken = []
    for _ in range(30):
        begun = time.perf_counter()
        with opened(zygote):
            taken.append(time.perf_counter() - begun)
    assert min(taken) < 0.05


@pytest.fixture
def own_zygote() -> Iterator[Zygote]:
    """One that no other test has children of."""
    with Zygote() as own:
        yield own


def children_of(zygote: Zygote) -> set[int]:
    assert zygote._live is not None
    pid = zygote._live.process.pid
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def test_a_child_that_was_asked_for_ahead_is_the_one_that_is_had(own_zygote):
    own_zygote.fork_ahead(LuaLimits())
    own_zygote.fork_ahead(LuaLimits())
    assert until(lambda: len(children_of(own_zygote)) == 1)
    [ahead] = children_of(own_zygote)
    with opened(own_zygote) as script, opened(own_zygote) as another:
        assert script._child.pid == ahead
        assert another._child.pid != ahead


def test_a_child_that_was_made_with_other_limits_is_not_taken(own_zygote):
    own_zygote.fork_ahead(LuaLimits(memory_bytes=16 * 1024 * 1024))
    with opened(own_zygote) as script:
        assert until(lambda: children_of(own_zygote) == {script._child.pid})


def test_a_zygote_that_dies_with_a_child_that_was_asked_for_is_replaced(own_zygote):
    own_zygote.fork_ahead(LuaLimits())
    assert until(lambda: len(children_of(own_zygote)) == 1)
    assert own_zygote._live is not None
    os.kill(own_zygote._live.process.pid, signal.SIGKILL)
    assert until(lambda: own_zygote._live.process.poll() is not None)
    with opened(own_zygote) as script:
        assert not is_gone(script._child.pid)


def test_what_was_asked_for_ahead_ends_with_its_zygote():
    with Zygote() as zygote:
        zygote.fork_ahead(LuaLimits())
        assert until(lambda: len(children_of(zygote)) == 1)
        [ahead] = children_of(zygote)
    assert until(lambda: is_gone(ahead))
    zygote.fork_ahead(LuaLimits())  # closed: whoever forks will hear of it
    with pytest.raises(NoChild):
        zygote.fork(LuaLimits())
