"""Level `landlock`: what processes of a room without namespaces can see and reach."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rivet.runner.reach import ProxyRules, ReachPolicy
from rivet.runner.room import CannotStart, Room

from .conftest import OTHER_UID, STAGE_UID

PYTHON = "/usr/bin/python3"


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    serving = ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    serving.asked = []
    threading.Thread(target=serving.serve_forever, args=(0.05,), daemon=True).start()
    yield serving
    serving.shutdown()
    serving.server_close()


def network(*hosts: str, **more) -> ProxyRules:
    more.setdefault("everything", True)
    return ProxyRules(ReachPolicy(allow_hosts=hosts), **more)


@pytest.fixture
def room(opened_on_host) -> Room:
    return opened_on_host("landlock")


@pytest.fixture
def connected(opened_on_host, server) -> Room:
    """With a network, in which the server's address is allowed."""
    return opened_on_host("landlock", network=network(f"127.0.0.1:{server.server_port}"))


@pytest.fixture
def python(shell) -> Callable[..., str]:
    """Runs lines of Python in a room: what they print, and where they fail the name of the exception."""

    def run(room: Room, code: str, **env: str) -> str:
        lines = "\n".join(f"    {line}" for line in code.splitlines())
        whole = f"import os, socket, sys\ntry:\n{lines}\nexcept OSError as error: print(type(error).__name__)\n"
        _, heard = shell(room, f"{PYTHON} -c \"$CODE\"", env={"CODE": whole, **env})
        assert not heard.errors, heard.errors
        return heard.text.strip()

    return run


def test_a_command_is_the_workspaces_user_in_the_hosts_own_folder(room, shell):
    _, heard = shell(room, "id -u; pwd; echo $HOME; echo $TMPDIR; echo x > $HOME/x && echo y > $TMPDIR/y && echo fine")
    uid = os.geteuid() if STAGE_UID is None else STAGE_UID
    expected = [str(uid), str(room.spec.workspace), str(room.spec.home), room.layout.tmp, "fine"]
    assert heard.text.split() == expected


def test_files_outside_are_refused_whatever_their_mode(room, shell, host_folder):
    (host_folder / "secret").write_text("not for stages")
    (host_folder / "open").mkdir()
    (host_folder / "open").chmod(0o777)
    line = (
        f"cat {host_folder}/secret; cat /etc/shadow; cat /etc/passwd; ls {host_folder}; ls /; ls /root; ls /home; ls /tmp;"
        f"echo x > {host_folder}/open/x; echo x > /tmp/rivet-x; echo x > /dev/shm/rivet-x; ln {host_folder}/secret s;"
        f"mv {host_folder}/open o; cat {room.layout.ours}/agent.pyc > /dev/null && echo ours is read"
    )
    _, heard = shell(room, line)
    assert heard.text == "ours is read\n"
    refusals = ("ermission denied", "not permitted", "cross-device link")
    assert sum(heard.errors.count(words) for words in refusals) == 13
    assert list((host_folder / "open").iterdir()) == []


def test_another_workspace_is_refused_even_one_of_the_same_user(opened_on_host, shell):
    mine, same = opened_on_host("landlock"), opened_on_host("landlock")
    others = opened_on_host("landlock", uid=OTHER_UID)
    for other in (same, others):
        shell(other, "echo theirs > file; echo theirs > $TMPDIR/file; echo theirs > $HOME/file")
        places = (other.layout.workspace, other.layout.tmp, other.layout.home)
        _, heard = shell(mine, "; ".join(f"cat {place}/file; echo x >> {place}/file" for place in places))
        assert heard.text == ""
        assert shell(other, "cat file $TMPDIR/file $HOME/file")[1].text == "theirs\n" * 3


def test_our_programs_and_the_system_cannot_be_written_to(room, shell):
    ours = room.layout.ours
    line = f"for f in /usr/x /etc/x {ours}/x {ours}/agent.pyc {ours}/../x /dev/x; do (: > $f) 2>/dev/null && echo $f; done"
    assert shell(room, line + "; : > /dev/null && echo rest is fine")[1].text == "rest is fine\n"


def test_nothing_of_the_runners_environment_or_of_other_processes_is_seen(opened_on_host, shell, monkeypatch):
    monkeypatch.setenv("RIVET_TOKEN", "token-that-must-not-be-seen")
    room = opened_on_host("landlock")
    runner = os.getpid()
    line = f"env; cat /proc/{runner}/environ; cat /proc/{runner}/cmdline; cat /proc/$PPID/environ; ls /proc; ls /proc/{runner}/fd"
    _, heard = shell(room, line)
    assert "token-that-must-not-be-seen" not in heard.text
    names = {text.partition("=")[0] for text in heard.text.splitlines()}
    assert names <= {"GIT_CONFIG_NOSYSTEM", "HOME", "LANG", "PATH", "PWD", "TMPDIR"}
    assert heard.errors.count("ermission denied") == 5


def test_signals_reach_neither_the_runner_nor_the_agent_nor_other_rooms(opened_on_host, shell, python):
    room, other = opened_on_host("landlock"), opened_on_host("landlock")
    shell(other, "sleep 60 >/dev/null 2>&1 &")
    assert python(room, f"os.kill({os.getpid()}, 0)") == "PermissionError"
    assert python(room, "os.kill(os.getppid(), 0); print('its shell'); os.kill(os.getpid(), 0)") == "its shell"
    ended, heard = shell(room, "for s in KILL TERM STOP HUP; do kill -$s $PPID; done; echo alive; kill -9 -1; echo on")
    assert heard.text == "alive\non\n"
    assert ended.exit_code == 0
    assert shell(room, "echo again")[1].text == "again\n"
    assert other.ask("alive").number == 1


def test_without_network_there_are_no_sockets_but_connected_pairs(room, python, server):
    for kind in ("AF_INET, socket.SOCK_STREAM", "AF_INET, socket.SOCK_DGRAM", "AF_INET6, socket.SOCK_STREAM",
                 "AF_UNIX, socket.SOCK_STREAM", "AF_NETLINK, socket.SOCK_RAW", "AF_PACKET, socket.SOCK_RAW"):
        assert python(room, f"socket.socket(socket.{kind}); print('made')") == "OSError", kind
    assert python(room, "a, b = socket.socketpair(); a.send(b'x'); print(b.recv(1))") == "b'x'"
    assert python(room, "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)") == "PermissionError"


def test_with_network_only_the_proxys_port_is_connected_to(connected, python, shell, server):
    """Neither the server, which the proxy would let through, nor the runner's own listeners."""
    assert python(connected, f"socket.create_connection(('127.0.0.1', {server.server_port}))") == "PermissionError"
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert python(connected, f"socket.create_connection(('127.0.0.1', {other.getsockname()[1]}))") == "PermissionError"
    url = f"http://127.0.0.1:{server.server_port}/through"
    assert shell(connected, f"curl -sS {url}")[1].text == "hello", "what is granted of the host's loopback too"
    assert server.asked == ["/through"]


def test_with_network_nothing_is_sent_in_another_way_and_nobody_listens(connected, python, server):
    for kind in ("AF_INET, socket.SOCK_DGRAM", "AF_INET6, socket.SOCK_DGRAM", "AF_INET, socket.SOCK_RAW",
                 "AF_INET, socket.SOCK_STREAM, 262", "AF_INET, socket.SOCK_STREAM, 132",
                 "AF_UNIX, socket.SOCK_STREAM", "AF_NETLINK, socket.SOCK_RAW", "AF_PACKET, socket.SOCK_RAW"):
        assert "Error" in python(connected, f"socket.socket(socket.{kind}); print('made')"), kind
    assert python(connected, "s = socket.socket(); s.listen()") == "PermissionError"
    assert python(connected, "s = socket.socket(); s.bind(('127.0.0.1', 0))") == "PermissionError"
    fast = f"s = socket.socket(); s.sendto(b'GET / HTTP/1.0', socket.MSG_FASTOPEN, ('127.0.0.1', {server.server_port}))"
    assert python(connected, fast) == "PermissionError"
    assert server.asked == []


def test_unix_sockets_of_the_host_are_not_reached(connected, python, host_folder):
    with socket.socket(socket.AF_UNIX) as path, socket.socket(socket.AF_UNIX) as abstract:
        path.bind(str(host_folder / "socket"))
        (host_folder / "socket").chmod(0o777)
        abstract.bind("\0rivet-test-landlock")
        for listener in (path, abstract):
            listener.listen()
        for address in (f"'{host_folder}/socket'", "'\\0rivet-test-landlock'"):
            assert python(connected, f"socket.socket(socket.AF_UNIX).connect({address})") == "OSError"


def test_the_proxy_serves_nobody_but_the_rooms_user(connected, server):
    request = f"GET http://127.0.0.1:{server.server_port}/ HTTP/1.0\r\n\r\n".encode()
    port = int(connected.environment["HTTP_PROXY"].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        try:
            answer = connection.recv(65536)
        except ConnectionResetError:
            answer = b""
    # An ordinary user's rooms have that user, as this test has.
    assert (answer == b"") == (STAGE_UID is not None)


def test_what_the_level_cannot_give_is_said(connected, shell, opened_on_host, server):
    shell(connected, f"{PYTHON} -c 'import socket; socket.create_server((\"127.0.0.1\", 0))'")
    hint = connected.hint(["PermissionError: [Errno 13] Permission denied (while attempting to bind on address)"])
    assert "At isolation landlock a stage has no loopback of its own" in hint
    with pytest.raises(CannotStart, match="port 5432 cannot be waited for"):
        connected.is_listening(5432)
    granted = opened_on_host("landlock", network=network("db.test", hosts=("db.test:5432",), everything=False))
    assert "db.test:5432 can be reached through the proxy alone" in granted.lack
    assert connected.lack == ""


def test_tracing_namespaces_and_what_belongs_to_all_are_refused(room, shell, python):
    _, heard = shell(room, "unshare -U true; unshare -m true; ipcmk -M 4096; prlimit --pid $PPID --nofile")
    assert heard.errors.count("ermitted") == 4
    assert python(room, f"os.sched_setaffinity({os.getpid()}, [0])") == "PermissionError"
    assert python(room, f"os.setpriority(os.PRIO_PROCESS, {os.getpid()}, 5)") == "PermissionError"
    assert python(room, "os.sched_setaffinity(0, [0]); os.setpriority(os.PRIO_PROCESS, 0, 5); print('itself')") == "itself"


def test_it_has_no_capability_and_no_group_of_the_runners(room, python):
    code = (
        "import ctypes; libc = ctypes.CDLL(None); head = (ctypes.c_uint32 * 2)(0x20080522, 0); told = (ctypes.c_uint32 * 6)()\n"
        "libc.capget(head, told); print(list(told)[:2], libc.prctl(39, 0, 0, 0, 0), libc.prctl(21, 0, 0, 0, 0), os.getgroups())"
    )
    groups = [] if STAGE_UID is not None else os.getgroups()
    assert python(room, code) == f"[0, 0] 1 2 {groups}"


def test_files_are_worked_with_by_the_agent(room, shell):
    from rivet.runner.room_files import RoomFiles

    files = RoomFiles(room)
    files.mkdir("a/b")
    files.write("a/b/f", b"content")
    files.copy("a", "c")
    shell(room, f"ln -s /etc/hostname out; ln -s {Path(room.layout.ours)}/agent.pyc ours")
    assert files.read("c/b/f") == b"content"
    assert files.glob(["**/f"]) == ["a/b/f", "c/b/f"]
    assert files.remove("a")
    for name in ("out", "ours"):
        with pytest.raises(OSError, match="leads out"):
            files.read(name)
