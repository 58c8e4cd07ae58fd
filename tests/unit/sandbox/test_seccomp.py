"""Seccomp programs, tried on real processes."""

import ctypes
import os
import signal
import struct
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


def test_a_stage_forks_and_runs_programs():
    assert under(seccomp.deny_list(), lambda: os.waitstatus_to_exitcode(os.system("true"))) == 0


@pytest.mark.parametrize("name", ["socket", "ptrace", "clone", "unshare", "bpf", "process_vm_readv"])
def test_a_lua_child_dies_of_what_it_has_no_business_with(name):
    assert under(seccomp.allow_list(), call(name, 0, 0, 0, 0, 0)) == -signal.SIGSYS


def test_a_lua_child_reads_writes_and_is_told_no_where_libc_probes():
    assert under(seccomp.allow_list(), call("getpid")) == 0
    assert under(seccomp.allow_list(), call("openat", 0, 0, 0)) == EPERM


def test_a_second_table_of_the_same_kernel_is_closed():
    """x86 has one, whose numbers begin at 2^30; elsewhere such a number is just none."""
    NUMBERS["second_getpid"] = 0x40000000 + 39
    assert under(seccomp.allow_list(), call("second_getpid")) == -signal.SIGSYS
    assert under(seccomp.deny_list(), call("second_getpid")) == ENOSYS


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("make", [seccomp.allow_list, seccomp.deny_list])
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
