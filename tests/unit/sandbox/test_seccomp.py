"""Seccomp programs, tried on real processes."""

import ctypes
import errno
import functools
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable

import pytest

from rivet.sandbox import seccomp
from rivet.sandbox.confine import Confinement

NUMBERS = seccomp._MACHINES[os.uname().machine].numbers
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER = 0x10000000


def under(program: bytes, act: Callable[[], int]) -> int:
    """The exit code (or minus the signal) of a process that acts under the program."""
    confinement = Confinement(program, None)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            confinement.enter(parent, {})
            code = act()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def call(name: str, *arguments: int) -> Callable[[], int]:
    """What a system call's errno is, 0 if it succeeds."""

    def act() -> int:
        ctypes.set_errno(0)
        return ctypes.get_errno() if LIBC.syscall(NUMBERS[name], *arguments) < 0 else 0

    return act


EPERM, ENOSYS, EAFNOSUPPORT = 1, 38, 97


@pytest.mark.parametrize(
    "name",
    [
        "ptrace",
        "process_vm_readv",
        "keyctl",
        "bpf",
        "perf_event_open",
        "userfaultfd",
        "io_uring_setup",
        "mount",
        "umount2",
        "fsopen",
        "move_mount",
        "unshare",
        "setns",
        "init_module",
        "reboot",
        "open_by_handle_at",
    ],
)
def test_a_stage_is_refused(name):
    assert under(seccomp.deny_list(), call(name, 0, 0, 0, 0, 0)) == EPERM


def test_a_stage_makes_no_namespaces_by_clone_either():
    assert under(seccomp.deny_list(), call("clone", CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0)) == EPERM
    assert under(seccomp.deny_list(), call("clone3", 0, 0)) == ENOSYS


def test_a_stage_types_nothing_into_a_terminal():
    assert under(seccomp.deny_list(), call("ioctl", 0, 0x5412, 0)) == EPERM
    assert under(seccomp.deny_list(), call("ioctl", 0, (1 << 32) | 0x5412, 0)) == EPERM


@pytest.mark.parametrize("family", [1, 2, 10])
def test_a_stage_has_plain_sockets(family):
    assert under(seccomp.deny_list(), call("socket", family, 1, 0)) == 0


@pytest.mark.parametrize("family", [17, 38, 40])
def test_a_stage_has_no_sockets_of_other_families(family):
    assert under(seccomp.deny_list(), call("socket", family, 1, 0)) == EAFNOSUPPORT


WITHOUT_NAMESPACES = seccomp.deny_list_without_namespaces


def makes(make: Callable[..., object], family: int, kind: int, protocol: int = 0) -> Callable[[], int]:
    """What a socket's errno is, 0 if it was made."""

    def act() -> int:
        try:
            make(family, kind, protocol)
        except OSError as error:
            return error.errno or -1
        return 0

    return act


@pytest.mark.parametrize("name", ["ptrace", "mount", "unshare", "bpf", "listen", "shmget", "semget", "msgget", "mq_open"])
def test_without_namespaces_a_stage_is_refused_what_is_of_all(name):
    for network in (True, False):
        assert under(WITHOUT_NAMESPACES(network=network), call(name, 0, 0, 0, 0, 0)) == EPERM


def test_without_namespaces_a_stage_has_tcp_where_it_has_a_network_and_no_other_sockets():
    given, withheld = WITHOUT_NAMESPACES(network=True), WITHOUT_NAMESPACES(network=False)
    flags = socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    for family in (socket.AF_INET, socket.AF_INET6):
        assert under(given, makes(socket.socket, family, socket.SOCK_STREAM | flags)) == 0
        assert under(given, makes(socket.socket, family, socket.SOCK_STREAM, socket.IPPROTO_TCP)) == 0
        assert under(withheld, makes(socket.socket, family, socket.SOCK_STREAM)) == EAFNOSUPPORT
        for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
            assert under(given, makes(socket.socket, family, kind | flags)) == EPERM
        for protocol in (socket.IPPROTO_SCTP, 262):
            assert under(given, makes(socket.socket, family, socket.SOCK_STREAM, protocol)) == errno.EPROTONOSUPPORT
    for family in (socket.AF_UNIX, socket.AF_NETLINK, socket.AF_PACKET, 40):
        assert under(given, makes(socket.socket, family, socket.SOCK_STREAM)) == EAFNOSUPPORT


def test_without_namespaces_unix_sockets_come_as_connected_pairs_alone():
    program = WITHOUT_NAMESPACES(network=True)
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC):
        assert under(program, makes(socket.socketpair, socket.AF_UNIX, kind)) == 0
    assert under(program, makes(socket.socketpair, socket.AF_UNIX, socket.SOCK_DGRAM)) == EPERM


def test_without_namespaces_no_call_connects_while_it_sends():
    program = WITHOUT_NAMESPACES(network=True)
    assert under(program, call("sendto", -1, 0, 0, socket.MSG_FASTOPEN, 0, 0)) == EPERM
    assert under(program, call("sendmsg", -1, 0, socket.MSG_FASTOPEN)) == EPERM
    assert under(program, call("sendmmsg", -1, 0, 0, socket.MSG_FASTOPEN)) == EPERM
    assert under(program, call("sendto", -1, 0, 0, 0, 0, 0)) == errno.EBADF


@pytest.mark.parametrize("name", ["prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr"])
def test_without_namespaces_no_call_is_for_another_process(name):
    program = WITHOUT_NAMESPACES(network=False)
    assert under(program, call(name, os.getpid(), 0, 0, 0)) == EPERM
    assert under(program, call(name, 0, 0, 0, 0)) != EPERM


@pytest.mark.parametrize("name", ["inotify_init1", "inotify_add_watch"])
def test_without_namespaces_folders_are_not_watched(name):
    assert under(WITHOUT_NAMESPACES(network=False), call(name, 0, 0, 0)) == ENOSYS


def test_without_namespaces_priorities_are_its_own():
    program = WITHOUT_NAMESPACES(network=False)
    for name in ("setpriority", "ioprio_set"):
        assert under(program, call(name, 0, os.getpid(), 0)) == EPERM
    assert under(program, call("setpriority", 0, 0, 10)) == 0


def test_a_stage_forks_and_runs_programs():
    assert under(seccomp.deny_list(), lambda: os.waitstatus_to_exitcode(os.system("true"))) == 0


@pytest.mark.parametrize("name", ["socket", "ptrace", "clone", "unshare", "bpf", "process_vm_readv"])
def test_a_lua_child_dies_of_what_it_has_no_business_with(name):
    assert under(seccomp.allow_list(), call(name, 0, 0, 0, 0, 0)) == -signal.SIGSYS


def test_a_lua_child_reads_writes_and_is_told_no_where_libc_probes():
    assert under(seccomp.allow_list(), call("getpid")) == 0
    assert under(seccomp.allow_list(), call("openat", 0, 0, 0)) == EPERM


EVERY_NUMBER = """
import ctypes, json, os, sys
program, numbers = json.load(sys.stdin)
raw = bytes.fromhex(program)
libc = ctypes.CDLL(None, use_errno=True)
kept = ctypes.create_string_buffer(raw, len(raw))
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("at", ctypes.c_void_p)]
filter = Program(len(raw) // 8, ctypes.cast(kept, ctypes.c_void_p))
told = {}
for number in numbers:
    pid = os.fork()
    if pid == 0:
        libc.prctl(38, 1, 0, 0, 0)
        if libc.prctl(22, 2, ctypes.byref(filter), 0, 0) != 0:
            os._exit(255)
        ctypes.set_errno(0)
        got = libc.syscall(ctypes.c_long(number), 0, 0, 0, 0, 0, 0)
        os._exit(ctypes.get_errno() if got == -1 else 254)
    told[number] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
json.dump(told, sys.stdout)
"""


PAST_ANY_FILTER = {335: -signal.SIGILL, 336: errno.ENXIO} if os.uname().machine == "x86_64" else {}
"""`uretprobe` and `uprobe`: new kernels keep seccomp off them, and refuse them themselves to whoever does not
come from the kernel's own probes."""


def test_every_system_call_that_is_not_on_the_list_ends_a_lua_child_or_is_refused():
    """All numbers that there are and more, those of the second table too; nothing but the list gets by."""
    may = {NUMBERS[name] for name in seccomp._LUA_MAY if name in NUMBERS}
    is_told_no = {NUMBERS[name] for name in seccomp._LUA_IS_TOLD_NO if name in NUMBERS}
    others = [*range(700), *range(0x40000000, 0x40000000 + 600), 2**30 - 1, 2**31 - 1, 2**32 - 1]
    asked = [number for number in others if number not in may]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", EVERY_NUMBER], text=True, capture_output=True, check=True, timeout=60,
        input=json.dumps([seccomp.allow_list().hex(), asked]),
    )  # fmt: skip
    told = {int(number): end for number, end in json.loads(done.stdout).items()}
    assert set(told) == set(asked)
    assert {number for number, end in told.items() if end == EPERM} == is_told_no
    for number, end in told.items():
        if number not in is_told_no:
            assert end in (-signal.SIGSYS, PAST_ANY_FILTER.get(number, -signal.SIGSYS)), number
    assert len(may) <= 32


def test_a_second_table_of_the_same_kernel_is_closed():
    """x86 has one, whose numbers begin at 2^30; elsewhere such a number is just none."""
    NUMBERS["second_getpid"] = 0x40000000 + 39
    assert under(seccomp.allow_list(), call("second_getpid")) == -signal.SIGSYS
    assert under(seccomp.deny_list(), call("second_getpid")) == ENOSYS


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize(
    "make",
    [
        seccomp.allow_list,
        seccomp.deny_list,
        functools.partial(seccomp.deny_list_without_namespaces, network=True),
        functools.partial(seccomp.deny_list_without_namespaces, network=False),
    ],
)
def test_a_program_is_whole_instructions_whose_jumps_stay_within(make, machine):
    program = list(struct.iter_unpack("=HBBI", make(machine)))
    assert len(program) < 4096
    for at, (code, if_true, if_false, _) in enumerate(program):
        if code & 7 == 5:
            assert at + 1 + max(if_true, if_false) < len(program)
    assert program[-1][0] == 0x06


def test_an_unknown_machine_is_refused_by_name():
    with pytest.raises(ValueError, match="riscv64"):
        seccomp.allow_list("riscv64")
