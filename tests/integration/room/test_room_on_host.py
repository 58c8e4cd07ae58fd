"""Levels `landlock` and `none`: rooms without namespaces die as a whole, keep to their limits, and leave nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rivet.domain.limits import Limits
from rivet.runner.reach import ReachPolicy
from rivet.runner.room import Room, RoomLost, RoomOver

from .conftest import STAGE_UID
from .test_room_git import Repository
from .test_room_isolation import running, wait_until

LEVELS = ("landlock", "none")
DAEMON = "setsid sh -c 'setsid sleep {0} & exit' >/dev/null 2>&1 </dev/null; (sleep {0} >/dev/null 2>&1 &); sleep 0.1"


@pytest.fixture(params=LEVELS)
def level(request) -> str:
    return request.param


@pytest.fixture
def room(opened_on_host, level) -> Room:
    return opened_on_host(level)


def marker(level: str, number: int) -> str:
    """How long a sleep is that is looked for: of this test, level and process alone."""
    return f"{number}.{LEVELS.index(level)}{os.getpid()}"


def test_daemons_that_left_their_session_are_gone_when_the_room_is_closed(room, shell, level):
    looked_for = marker(level, 301)
    shell(room, DAEMON.format(looked_for))
    assert wait_until(lambda: len(running(looked_for)) == 2)
    assert room.close()
    assert not running(looked_for)


def test_nothing_of_a_room_is_left_on_the_host(room, shell):
    shell(room, "mkdir -p $TMPDIR/a/b; touch $TMPDIR/a/b/c; chmod 000 $TMPDIR/a/b $TMPDIR/a")
    folder = Path(room.layout.ours).parent
    assert folder.parent == room.spec.workspace.parent
    assert room.close()
    assert not folder.exists()


def test_a_bomb_of_forks_is_ended_with_its_room(opened_on_host, shell, level):
    room = opened_on_host(level, limits=Limits(processes=60, process_memory=0, workspace=0))
    bomb = f"import os, time\nwhile True:\n try: os.fork()\n except OSError: time.sleep(0.01)\n# {marker(level, 302)}"
    with pytest.raises(RoomLost):
        room.run(["/usr/bin/python3", "-c", bomb], env={}, on_output=lambda *_: None, timeout_s=20)
    assert room.close()
    assert not bombs(marker(level, 302))


def bombs(text: str) -> list[str]:
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and text.encode() in Path(f"/proc/{name}/cmdline").read_bytes():
                found.append(name)
        except OSError:
            continue
    return [name for name in found if int(name) != os.getpid()]


def test_stopping_all_of_a_room_stops_nobody_else(room, shell, level):
    """At `none` no kernel tells whose a process is: a signal to all would go to the runner and its user."""
    looked_for = marker(level, 303)
    bystander = subprocess.Popen(["sleep", "60"], user=STAGE_UID, group=STAGE_UID)
    try:
        line = f"sleep {looked_for} & sleep {looked_for}"
        begun = time.monotonic()
        ended = room.run(
            ["/bin/sh", "-c", line], env={}, on_output=lambda *_: None, grace_s=5.0,
            stop=lambda: "it was cancelled" if time.monotonic() - begun > 0.3 else None,
        )
        assert (ended.ended_by, ended.reason) == ("stop", "it was cancelled")
        assert not running(looked_for)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait(10)


def test_an_agent_that_is_killed_from_outside_takes_its_room_along(opened_on_host, shell, level):
    """Where root started it, by killing all of the room's user: here one that no other test has."""
    room = opened_on_host(level, uid=298_000 + os.getpid() % 1000 if STAGE_UID is not None else None)
    looked_for = marker(level, 304)
    shell(room, DAEMON.format(looked_for))
    agent = next(int(pid) for pid in bombs(f"{room.layout.ours}/agent.pyc"))
    os.kill(agent, signal.SIGKILL)
    if STAGE_UID is None:
        # What had left the agent's children before is nobody's any more, and looks like any process of the user.
        for pid in running(looked_for):
            os.kill(int(pid), signal.SIGKILL)
    assert room.close()
    assert wait_until(lambda: not running(looked_for))


def test_limits_of_processes_memory_and_files_hold(opened_on_host, level):
    hungry = "x = bytearray(200 << 20); import time; time.sleep(20)"
    written = "import os, time; open(os.environ['TMPDIR'] + '/f', 'wb').write(bytes(8 << 20)); time.sleep(20)"
    threads = "import threading, time\nfor _ in range(50): threading.Thread(target=time.sleep, args=(20,)).start()"
    cases = (
        ("process_memory", hungry, Limits(process_memory=64 << 20, workspace=0)),
        ("workspace", written, Limits(process_memory=0, workspace=1 << 20)),
        ("processes", threads, Limits(processes=40, process_memory=0, workspace=0)),
    )
    for name, code, limits in cases:
        room = opened_on_host(level, limits=limits)
        with pytest.raises(RoomOver) as over:
            room.run(["/usr/bin/python3", "-c", code], env={}, on_output=lambda *_: None, timeout_s=15)
        assert over.value.name == name
        assert room.close()


def test_rlimits_hold(room, shell, level):
    _, heard = shell(room, "ulimit -n; ulimit -c; ulimit -u 2>/dev/null || ulimit -p")
    files, core, processes = (int(word) for word in heard.text.split())
    assert (files, core) == (4096, 0)
    # Those of the same user that are no room's count for the kernel, so they are allowed besides.
    assert 1024 < processes < 1024 + 17 + 5000


def test_processes_that_are_not_the_rooms_do_not_count(opened_on_host, shell, level):
    others = [subprocess.Popen(["sleep", "60"], user=STAGE_UID, group=STAGE_UID) for _ in range(5)]
    try:
        room = opened_on_host(level, limits=Limits(processes=4, process_memory=0, workspace=0))
        assert shell(room, "sleep 0.6; echo fine")[1].text == "fine\n"
        assert room.ask("alive").number == 0
    finally:
        for other in others:
            other.kill()
            other.wait(10)


def test_a_repository_is_cloned_from_where_it_is(host_spec, host_folder, level):
    from rivet.runner.git import fetch_git

    repository = Repository(host_folder / "a repository")
    told = bytearray()
    spec = host_spec(level)
    found = fetch_git(
        f"file://{repository.folder}".replace(" ", "%20"), None, None, 1, "clone", spec=spec,
        reach=ReachPolicy(allow_paths=(str(host_folder),)), on_output=lambda _, data: told.extend(data),
    )
    assert found == repository.last
    assert (spec.workspace / "clone" / "file").read_text() == "three"
    assert sorted(path.name for path in spec.workspace.parent.iterdir()) == ["home", "workspace"]


SUPERVISOR = """
import sys
from pathlib import Path
from rivet.runner.room import Room, RoomSpec
from rivet.runner.tools import ToolRoots
folder, uid, ping_s, marker, level = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), sys.argv[4], sys.argv[5]
uid = None if uid == "None" else int(uid)
room = Room(RoomSpec(folder / "workspace", folder / "home", uid, ToolRoots(), ping_s, isolation=level))
print("open", flush=True)
room.run(["/bin/sh", "-c", f"setsid sleep {marker} & sleep {marker}"], env={}, on_output=lambda *_: None)
"""


@pytest.fixture
def supervisor(host_spec, level):
    """A process of its own that runs a long command in a room."""
    started = []

    def start(ping_s: float, looked_for: str) -> subprocess.Popen:
        spec = host_spec(level)
        argv = [
            sys.executable, "-c", SUPERVISOR, str(spec.workspace.parent), str(spec.uid), str(ping_s), looked_for, level,
        ]
        path = os.pathsep.join([str(Path(__file__).parents[3]), *sys.path])
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path})
        started.append(process)
        assert process.stdout.readline() == b"open\n"
        assert wait_until(lambda: len(running(looked_for)) >= 2)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(10)
        process.stdout.close()


def test_everything_ends_within_a_second_of_the_supervisors_sigkill(supervisor, level):
    process = supervisor(20.0, marker(level, 305))
    process.kill()
    assert wait_until(lambda: not running(marker(level, 305)), 1.0)


def test_a_room_ends_when_its_supervisor_is_frozen(supervisor, level):
    process = supervisor(1.0, marker(level, 306))
    process.send_signal(signal.SIGSTOP)
    assert wait_until(lambda: not running(marker(level, 306)), 4.0)


def test_at_none_nothing_is_refused_but_what_the_user_may_not_do_anyway(opened_on_host, shell, host_folder):
    (host_folder / "seen").write_text("by everybody")
    room = opened_on_host("none")
    line = f"cat {host_folder}/seen; ls /proc | grep -c '^[0-9]'; /usr/bin/python3 -c 'import socket; socket.create_server((\"127.0.0.1\", 0))' && echo listens"
    _, heard = shell(room, line)
    assert heard.text.startswith("by everybody")
    assert heard.text.endswith("listens\n")
    assert shell(room, "env")[1].text.count("\n") <= 6
