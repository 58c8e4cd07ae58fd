"""What a stage's processes can see and reach from within a room, and what of them stays behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def running(marker: str) -> list[str]:
    """Processes of the whole machine that sleep for so long."""
    found = []
    for name in os.listdir("/proc"):
        try:
            line = Path(f"/proc/{name}/cmdline").read_bytes() if name.isdigit() else b""
        except OSError:
            continue
        if line == b"sleep\0" + marker.encode() + b"\0":
            found.append(name)
    return found


def wait_until(condition, within_s: float = 10.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False


def test_a_command_is_an_ordinary_user_in_the_workspace(room, shell):
    _, heard = shell(room, "id -u; id -un; pwd; echo $HOME; hostname")
    assert heard.text.split() == ["1000", "stage", "/workspace", "/home/stage", "stage"]


def test_processes_see_none_of_the_host_and_none_of_the_agent(room, shell):
    line = "ls /proc | grep -c '^[0-9]'; cat /proc/1/environ; ls /proc/1/fd; ls -A /root /home"
    _, heard = shell(room, line)
    assert int(heard.text.split()[0]) <= 6
    assert "Permission denied" in heard.errors
    assert ".ssh" not in heard.text


def test_nothing_of_the_supervisors_environment_is_seen(spec, shell, monkeypatch):
    from rivet.runner.room import Room

    monkeypatch.setenv("RIVET_TOKEN", "token-that-must-not-be-seen")
    with Room(spec) as room:
        _, heard = shell(room, "env; cat /proc/*/environ | tr '\\0' '\\n'")
    assert "token-that-must-not-be-seen" not in heard.text
    names = {line.partition("=")[0] for line in heard.text.splitlines()}
    assert names <= {"HOME", "LANG", "PATH", "PWD", "TMPDIR"}


def test_files_of_the_host_are_not_there(room, shell, tmp_path):
    (tmp_path / "secret").write_text("x")
    ended, heard = shell(room, f"ls {tmp_path}; cat /etc/shadow; cat /etc/passwd; ls -A /tmp")
    assert "root:x:0:0" in heard.text
    assert "secret" not in heard.text
    assert "/etc/shadow" in heard.errors
    assert ended.exit_code == 0


def test_the_system_and_the_rooms_root_are_read_only(room, shell):
    line = "for f in /usr/x /etc/x /x /run/x /dev/x /etc/passwd; do (: > $f) 2>/dev/null && echo $f; done"
    _, heard = shell(room, line + "; : > /dev/null && : > /tmp/x && : > /dev/shm/x && echo rest is fine")
    assert heard.text == "rest is fine\n"


def test_there_is_no_network_but_a_loopback_of_its_own(room, shell):
    code = (
        "import socket\n"
        "print(sorted(name for _, name in socket.if_nameindex()))\n"
        "s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname())\n"
        "try: socket.create_connection(('1.1.1.1', 53), 2)\n"
        "except OSError as error: print(error.strerror)\n"
    )
    _, heard = shell(room, f'/usr/bin/python3 -c "{code}"')
    assert heard.text == "['lo']\nNetwork is unreachable\n"


def test_no_capability_no_new_user_namespace_and_no_tracing(room, shell):
    line = "grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status; unshare -U true; unshare -m true"
    ended, heard = shell(room, line)
    words = heard.text.split()
    assert words[words.index("CapEff:") + 1].strip("0") == ""
    assert words[words.index("NoNewPrivs:") + 1] == "1"
    assert words[words.index("Seccomp:") + 1] == "2"
    assert heard.errors.count("Operation not permitted") == 2
    assert ended.exit_code == 1


def test_killing_pid_1_from_within_does_nothing(room, shell):
    _, heard = shell(room, "for s in KILL TERM INT STOP HUP USR1 SEGV; do kill -$s 1; done; echo alive")
    assert heard.text == "alive\n"
    assert shell(room, "echo again")[1].text == "again\n"


def test_daemons_that_left_their_session_are_gone_when_the_room_is_closed(room, shell):
    marker = "31.4159"
    shell(room, f"setsid sh -c 'setsid sleep {marker} & exit' >/dev/null 2>&1 </dev/null; sleep 0.1")
    assert wait_until(lambda: running(marker))
    assert room.close()
    assert not running(marker)


def test_two_rooms_do_not_see_each_others_processes_or_temporary_files(opened, shell):
    first, second = opened(), opened()
    shell(first, "echo x > /tmp/of-the-first; sleep 60 >/dev/null 2>&1 &")
    _, heard = shell(second, "ls /tmp; ps ax | grep -c '[s]leep 60'")
    assert heard.text == "0\n"


def test_rlimits_hold(room, shell):
    _, heard = shell(room, "ulimit -n; ulimit -c; ulimit -u 2>/dev/null || ulimit -p")
    # Of processes 16 over the limit, so that it can be seen to be passed, and the agent itself.
    assert heard.text.split() == ["4096", "0", str(1024 + 17)]


SUPERVISOR = """
import sys, threading, time
from pathlib import Path
from rivet.runner.room import Room, RoomSpec
from rivet.runner.tools import ToolRoots
folder, uid, ping_s, marker = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), sys.argv[4]
uid = None if uid == "None" else int(uid)
room = Room(RoomSpec(folder / "workspace", folder / "home", uid, ToolRoots(), ping_s))
print("open", flush=True)
room.run(["/bin/sh", "-c", f"setsid sleep {marker} & sleep {marker}"], env={}, on_output=lambda *_: None)
"""


@pytest.fixture
def supervisor(spec):
    """A process of its own that runs a long command in a room."""
    started = []

    def start(ping_s: float, marker: str) -> subprocess.Popen:
        folder = str(spec.workspace.parent)
        argv = [sys.executable, "-c", SUPERVISOR, folder, str(spec.uid), str(ping_s), marker]
        path = os.pathsep.join([str(Path(__file__).parents[3]), *sys.path])
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path})
        started.append(process)
        assert process.stdout.readline() == b"open\n"
        assert wait_until(lambda: len(running(marker)) >= 2)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(10)
        process.stdout.close()


def test_everything_ends_within_a_second_of_the_supervisors_sigkill(supervisor):
    process = supervisor(20.0, "27.1828")
    process.kill()
    assert wait_until(lambda: not running("27.1828"), 1.0)


def test_a_room_ends_when_its_supervisor_is_frozen(supervisor):
    process = supervisor(1.0, "16.1803")
    time.sleep(1.5)
    assert running("16.1803"), "a supervisor that follows a command speaks by itself"
    process.send_signal(signal.SIGSTOP)
    assert wait_until(lambda: not running("16.1803"), 4.0)


def test_a_rooms_files_belong_to_the_workspaces_user_who_is_never_root(room, shell, spec):
    shell(room, "echo made > file")
    found = (spec.workspace / "file").stat()
    expected = (os.geteuid(), os.getegid()) if spec.uid is None else (spec.uid, spec.uid)
    assert (found.st_uid, found.st_gid) == expected
    assert found.st_uid != 0


def test_started_by_root_its_processes_are_in_no_group_of_roots(room, shell, spec):
    _, heard = shell(room, "grep Groups: /proc/self/status")
    groups = heard.text.split()[1:]
    assert set(groups) <= {"65534", "1000"}, "nobody's, or the one of the stage itself"
    assert spec.uid is None or not groups
