"""Rooms are forked, and hold as those that bubblewrap makes: told apart by nothing but what they cost."""

import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from rivet.runner.room import Room, RoomAhead, RoomLost
from rivet.sandbox.isolation import enclose as enclosing
from rivet.sandbox.isolation.built import Building
from rivet.sandbox.isolation.enclosure import interpreter
from rivet.sandbox.isolation.namespaces import Enclosure
from rivet.sandbox.isolation.warm import Builder, CannotBuild

REPORT = r"""
import json, os, socket, stat

def lines(path, *wanted):
    with open(path) as file:
        said = [line.rstrip("\n") for line in file]
    return [line for line in said if not wanted or line.split(":")[0] in wanted]

def mounts():
    found = {}
    for line in lines("/proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        _, _, device, root, target, options, *more = before.split(" ")
        kind, source, of_all = after.split(" ", 2)
        whole = root in ("/", "/newroot")
        assert target not in found, target
        # A mount of its own: which number its file system has got says nothing.
        own = kind in ("tmpfs", "proc", "devpts")
        of_all = sorted(each for each in of_all.split(",") if target != "/" or not each.startswith("mode="))
        found[target] = [None if own else device, whole or root, options, more, kind, source if own else "", of_all]
    return found

def tree():
    found = {}
    for folder, folders, names in os.walk("/"):
        if folder == "/":
            folders[:] = [each for each in folders if each not in ("proc", "usr", "sys")]
        folders[:] = [each for each in folders if not os.path.ismount(os.path.join(folder, each)) or each == "dev"]
        for name in folders + names:
            path = os.path.join(folder, name)
            known = os.lstat(path)
            # Nobody can write to a folder above a mount, whatever its mode: all of it is read-only.
            mode = "folder" if stat.S_ISDIR(known.st_mode) else stat.filemode(known.st_mode)
            says = os.readlink(path) if stat.S_ISLNK(known.st_mode) else ""
            found[path] = [mode, known.st_uid, known.st_gid, known.st_size if mode[0] == "-" else 0, says]
    return found

def content(paths):
    return {path: open(path, "rb").read().hex() for path in paths if path.startswith(("/etc/", "/run/"))}

RIGHTS = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp",
          "Seccomp_filters", "SigBlk", "SigIgn", "SigCgt", "Umask", "Cpus_allowed", "CoreDumping")
files = tree()
print(json.dumps({
    "own": lines("/proc/self/status", *RIGHTS),
    "agent": lines("/proc/1/status", *RIGHTS),
    "session of the agent": lines("/proc/1/stat")[0].rpartition(")")[2].split()[1:6],
    "readable of the agent": sorted(n for n in os.listdir("/proc/1") if os.access("/proc/1/" + n, os.R_OK | os.W_OK)),
    "mounts": mounts(),
    "files": files,
    "contents": content([path for path, known in files.items() if known[0][0] == "-"]),
    "users": [lines("/proc/self/" + name) for name in ("uid_map", "gid_map", "setgroups")],
    "namespaces to be had": lines("/proc/sys/user/max_user_namespaces"),
    "limits": lines("/proc/self/limits"),
    "limits of the agent": lines("/proc/1/limits"),
    "preferred to be killed": lines("/proc/self/oom_score_adj"),
    "variables": sorted(os.environ),
    "descriptors": sorted(os.listdir("/proc/self/fd")),
    "network": [line.split(":")[0] for line in lines("/proc/net/dev")] + lines("/proc/net/if_inet6") + lines("/proc/net/fib_trie"),
    "sockets": lines("/proc/net/unix"),
    "name": socket.gethostname(),
    "processes": sorted(name for name in os.listdir("/proc") if name.isdigit())[:1],
    "priority": [os.nice(0), os.sched_getscheduler(0)],
    "here": os.getcwd(),
}))
"""
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")


def wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on rooms are made by bubblewrap."""

    class NoBuilder(Builder):
        def ask(self, *_: object) -> None:
            raise CannotBuild("not here")

    monkeypatch.setattr(enclosing, "_builder", NoBuilder())


def report(room: Room, shell) -> dict:
    ended, heard = shell(room, f"exec {interpreter()} -I -S -c \"$PROGRAM\"", env={"PROGRAM": REPORT})
    assert ended.exit_code == 0, heard.errors
    return json.loads(heard.text)


def test_a_forked_room_is_what_bubblewrap_makes(opened, shell, monkeypatch):
    forked = report(opened(), shell)
    wrapped(monkeypatch)
    by_bubblewrap = report(opened(), shell)
    assert forked.keys() == by_bubblewrap.keys()
    for what in forked:
        assert forked[what] == by_bubblewrap[what], what


def test_every_namespace_of_a_room_is_its_own(opened, shell):
    line = "cd /proc/self/ns && readlink " + " ".join(NAMESPACES)
    rooms = [shell(opened(), line)[1].text.split() for _ in range(2)]
    host = [os.readlink(f"/proc/self/ns/{name}") for name in NAMESPACES]
    assert all(len({*each}) == 3 for each in zip(*rooms, host, strict=True))


def test_nothing_of_one_room_is_in_the_memory_of_the_next(opened, monkeypatch):
    """The builder forks what it has never read: what a room has besides may be a token."""
    canary = b"canary-of-one-room-" + b"%d" % os.getpid()
    opened(files={"credential": canary})
    second = opened()
    builder = enclosing._builder.pid
    agent = pid_of(second)
    assert agent in children(builder)
    # Of an agent only root may read any.
    for pid in (builder, agent) if os.geteuid() == 0 else (builder,):
        assert b"rivet" in memory(pid)
        assert canary not in memory(pid)


def test_a_room_ends_with_the_builder_and_the_next_one_gets_another(opened, shell):
    room = opened()
    os.kill(enclosing._builder.pid, signal.SIGKILL)
    with pytest.raises(RoomLost):
        shell(room, "sleep 60")
    assert room.close()
    assert shell(opened(), "echo again")[1].text == "again\n"


def test_a_room_is_made_while_there_is_other_work(spec, shell):
    with Room(spec, RoomAhead(spec)) as room:
        assert shell(room, "pwd")[1].text == "/workspace\n"


def test_one_that_nobody_needs_leaves_nothing_behind(spec):
    RoomAhead(spec).close()
    builder = enclosing._builder.pid
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        RoomAhead(spec).close()
    assert wait_until(lambda: children(builder) == [])
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("level", ["landlock", "none"])
def test_where_nothing_can_be_begun_it_is_opened_when_it_is_needed(host_spec, shell, level):
    spec = host_spec(level)
    RoomAhead(spec).close()
    assert sorted(path.name for path in spec.workspace.parent.iterdir()) == ["home", "workspace"]
    with Room(spec, RoomAhead(spec)) as room:
        assert shell(room, "echo here")[1].text == "here\n"


def test_it_is_not_taken_once_its_agent_may_miss_its_supervisor(spec):
    ahead = RoomAhead(replace(spec, ping_s=0.2))
    assert not ahead.is_stale
    assert wait_until(lambda: ahead.is_stale)
    ahead.close()


def test_rooms_are_opened_by_several_threads_at_once(opened, shell):
    said, failed = [], []

    def use(number: int) -> None:
        try:
            said.append(shell(opened(), f"echo {number}")[1].text)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (sorted(said), failed) == ([f"{number}\n" for number in range(4)], [])


def test_a_builder_leaves_no_process_and_no_descriptor_behind(spec):
    with Builder() as builder:
        _run_true(builder, spec)
        process = builder.pid
        before = [len(os.listdir(f"/proc/{each}/fd")) for each in ("self", process)]
        for _ in range(5):
            _run_true(builder, spec)
        assert wait_until(lambda: children(process) == [])
        assert [len(os.listdir(f"/proc/{each}/fd")) for each in ("self", process)] == before


def test_what_cannot_be_shut_in_is_named(spec, tmp_path):
    missing = tmp_path / "missing"
    with Builder() as builder, pytest.raises(CannotBuild, match="No such file"):
        Building(Enclosure(missing, None, spec.uid), ["/bin/true"], [], is_agent=False, builder=builder).stands()


def _run_true(builder: Builder, spec) -> None:
    enclosure = Enclosure(spec.workspace, None, spec.uid)
    with Building(enclosure, ["/bin/true"], [], is_agent=False, builder=builder).stands() as enclosed:
        assert enclosed.end()


def wait_until(condition, within_s: float = 10.0) -> bool:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def pid_of(room: Room) -> int:
    """The host's number of a room's pid 1, as the kernel tells it of a descriptor."""
    fd = room._shell.enclosed._pid_1
    said = Path(f"/proc/self/fdinfo/{fd}").read_text().split()
    return int(said[said.index("Pid:") + 1])


def memory(pid: int) -> bytes:
    """All that a process has written or could have; what may not be read is left out."""
    found = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            words = line.split()
            if "w" not in words[1] or words[-1] in ("[vvar]", "[vsyscall]"):
                continue
            begin, end = (int(number, 16) for number in words[0].split("-"))
            try:
                file.seek(begin)
                found.append(file.read(end - begin))
            except OSError:
                continue
    return b"".join(found)
