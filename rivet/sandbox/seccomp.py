"""Seccomp programs as bytes: which system calls a Lua child may make, and which a stage's processes may not.

Both programs check the architecture first and refuse the second tables of the same kernel (x32, i386).
They are arrays of `struct sock_filter`, as `bwrap --seccomp FD` and `prctl(PR_SET_SECCOMP)` take them.
"""

import errno
import os
import struct
from collections.abc import Iterable, Mapping, Sequence

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_AND = 0x54
_NUMBER_AT, _ARCH_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_X32 = 0x40000000
_NEW_NAMESPACES = 0x7E020000
_TERMINAL_INJECTIONS = (0x5412, 0x541C)
_UNIX, _IPV4, _IPV6, _NETLINK = 1, 2, 10, 16
_SOCKET_FAMILIES = (_UNIX, _IPV4, _IPV6, _NETLINK)
_KIND_OF_SOCKET, _STREAM, _SEQPACKET = 0xF, 1, 5
_TCP = (0, 6)
_FAST_OPEN = 0x20000000


class _Machine:
    """The numbers of one architecture; names that it does not have are left out."""

    def __init__(self, audit: int, second_table: bool, numbers: Mapping[str, int]) -> None:
        self.audit = audit
        self.second_table = second_table
        self.numbers = numbers

    def known(self, names: Iterable[str]) -> list[int]:
        return [self.numbers[name] for name in names if name in self.numbers]


def _read_table(text: str) -> dict[str, int]:
    words = text.split()
    return {name: int(number) for name, number in zip(words[::2], words[1::2], strict=True)}


_SINCE_424 = """
    pidfd_send_signal 424 io_uring_setup 425 io_uring_enter 426 io_uring_register 427 open_tree 428
    move_mount 429 fsopen 430 fsconfig 431 fsmount 432 fspick 433 pidfd_open 434 clone3 435
    pidfd_getfd 438 process_madvise 440 mount_setattr 442 quotactl_fd 443 process_mrelease 448
    statmount 457 listmount 458 open_tree_attr 467
"""

_MACHINES = {
    "x86_64": _Machine(0xC000003E, True, _read_table("""
        read 0 write 1 close 3 fstat 5 poll 7 lseek 8 mmap 9 mprotect 10 munmap 11 brk 12 rt_sigaction 13
        rt_sigprocmask 14 rt_sigreturn 15 ioctl 16 readv 19 writev 20 sched_yield 24 mremap 25 madvise 28
        getpid 39 socket 41 clone 56 exit 60 uname 63 getcwd 79 readlink 89 gettimeofday 96 getrusage 98
        ptrace 101 sigaltstack 131 uselib 134 ustat 136 vhangup 153 modify_ldt 154 pivot_root 155 _sysctl 156
        adjtimex 159 chroot 161 acct 163 settimeofday 164 mount 165 umount2 166 swapon 167 swapoff 168
        reboot 169 sethostname 170 setdomainname 171 iopl 172 ioperm 173 create_module 174 init_module 175
        delete_module 176 get_kernel_syms 177 query_module 178 quotactl 179 nfsservctl 180 gettid 186
        time 201 futex 202 lookup_dcookie 212 restart_syscall 219 clock_settime 227 clock_gettime 228
        exit_group 231 kexec_load 246 add_key 248 request_key 249 keyctl 250 openat 257 newfstatat 262
        readlinkat 267 unshare 272 move_pages 279 perf_event_open 298 fanotify_init 300 name_to_handle_at 303
        open_by_handle_at 304 clock_adjtime 305 setns 308 process_vm_readv 310 process_vm_writev 311 kcmp 312
        finit_module 313 getrandom 318 kexec_file_load 320 bpf 321 userfaultfd 323 statx 332 rseq 334
        syslog 103 shmget 29 shmat 30 shmctl 31 sendto 44 sendmsg 46 listen 50 socketpair 53 semget 64
        semop 65 semctl 66 shmdt 67 msgget 68 msgsnd 69 msgrcv 70 msgctl 71 setpriority 141 sched_setparam 142
        sched_setscheduler 144 sched_setaffinity 203 semtimedop 220 mq_open 240 mq_unlink 241 ioprio_set 251
        inotify_init 253 inotify_add_watch 254 inotify_init1 294
        migrate_pages 256 prlimit64 302 sendmmsg 307 sched_setattr 314
    """ + _SINCE_424)),
    "aarch64": _Machine(0xC00000B7, False, _read_table("""
        lookup_dcookie 18 getcwd 17 ioctl 29 umount2 39 mount 40 pivot_root 41 nfsservctl 42 chroot 51
        openat 56 close 57 vhangup 58 quotactl 60 lseek 62 read 63 write 64 readv 65 writev 66 ppoll 73
        readlinkat 78 newfstatat 79 fstat 80 acct 89 exit 93 exit_group 94 unshare 97 futex 98
        kexec_load 104 init_module 105 delete_module 106 clock_settime 112 clock_gettime 113 syslog 116
        ptrace 117 sched_yield 124 restart_syscall 128 sigaltstack 132 rt_sigaction 134 rt_sigprocmask 135
        rt_sigreturn 139 reboot 142 uname 160 sethostname 161 setdomainname 162 getrusage 165
        gettimeofday 169 settimeofday 170 adjtimex 171 getpid 172 gettid 178 socket 198 brk 214 munmap 215
        mremap 216 add_key 217 request_key 218 keyctl 219 clone 220 mmap 222 swapon 224 swapoff 225
        mprotect 226 madvise 233 move_pages 239 perf_event_open 241 fanotify_init 262 name_to_handle_at 264
        open_by_handle_at 265 clock_adjtime 266 setns 268 process_vm_readv 270 process_vm_writev 271 kcmp 272
        finit_module 273 getrandom 278 bpf 280 userfaultfd 282 statx 291 rseq 293 kexec_file_load 294
        inotify_init1 26 inotify_add_watch 27
        ioprio_set 30 sched_setparam 118 sched_setscheduler 119 sched_setaffinity 122 setpriority 140
        mq_open 180 mq_unlink 181 msgget 186 msgctl 187 msgrcv 188 msgsnd 189 semget 190 semctl 191
        semtimedop 192 semop 193 shmget 194 shmctl 195 shmat 196 shmdt 197 socketpair 199 listen 201
        sendto 206 sendmsg 211 migrate_pages 238 prlimit64 261 sendmmsg 269 sched_setattr 274
    """ + _SINCE_424)),
}

_LUA_MAY = (
    "read", "write", "readv", "writev", "close", "fstat", "lseek", "poll", "ppoll", "mmap", "munmap",
    "mremap", "mprotect", "madvise", "brk", "futex", "sched_yield", "rt_sigaction", "rt_sigprocmask",
    "rt_sigreturn", "sigaltstack", "restart_syscall", "clock_gettime", "gettimeofday", "time", "getrandom",
    "getpid", "gettid", "exit", "exit_group",
)  # fmt: skip
_LUA_IS_TOLD_NO = (
    "ioctl", "openat", "newfstatat", "statx", "readlink", "readlinkat", "getcwd", "uname", "getrusage",
)  # fmt: skip

_STAGE_MAY_NOT = (
    "ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd",
    "keyctl", "add_key", "request_key",
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register",
    "mount", "umount2", "pivot_root", "chroot", "fsopen", "fsconfig", "fsmount", "fspick", "open_tree",
    "open_tree_attr", "move_mount", "mount_setattr", "unshare", "setns",
    "kexec_load", "kexec_file_load", "create_module", "init_module", "finit_module", "delete_module",
    "get_kernel_syms", "query_module",
    "reboot", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "syslog", "sethostname",
    "setdomainname", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "iopl", "ioperm",
    "modify_ldt", "vhangup", "open_by_handle_at", "name_to_handle_at", "fanotify_init", "move_pages",
    "lookup_dcookie", "nfsservctl", "uselib", "ustat", "_sysctl",
)  # fmt: skip

_WITHOUT_NAMESPACES_MAY_NOT = (
    "listen", "shmget", "shmat", "shmctl", "shmdt", "semget", "semop", "semctl", "semtimedop", "msgget",
    "msgsnd", "msgrcv", "msgctl", "mq_open", "mq_unlink", "process_madvise", "process_mrelease",
    "migrate_pages", "statmount", "listmount",
)  # fmt: skip
"""Of memory, messages and mounts that are the whole host's, and of servers that others could reach."""
_WATCHES = ("inotify_init", "inotify_init1", "inotify_add_watch")
"""They tell the names of files that are made in folders which may not even be listed."""
_ONLY_FOR_ITSELF = {
    "prlimit64": 0, "sched_setparam": 0, "sched_setscheduler": 0, "sched_setaffinity": 0, "sched_setattr": 0,
    "setpriority": 1, "ioprio_set": 1,
}  # fmt: skip
"""Which argument names whom it is done to: 0 is the caller; others could be the runner, of the same user."""
_FLAGS_OF_SENDING = {"sendto": 3, "sendmsg": 2, "sendmmsg": 3}


def allow_list(machine: str | None = None) -> bytes:
    """The Lua child's program: memory, time, its open pipes and its own end; anything else kills it.

    What libc merely probes for (a terminal, a file of locale data) gets EPERM. `machine` is as in
    `os.uname()`. Raises ValueError for a machine whose numbers are not known here.
    """
    known = _machine(machine)
    return _assemble([
        *_preface(known, second_table=_KILL),
        *_verdicts(known.known(_LUA_MAY), _ALLOW),
        *_verdicts(known.known(_LUA_IS_TOLD_NO), _refuse(errno.EPERM)),
        (_RETURN, 0, 0, _KILL),
    ])


def deny_list(machine: str | None = None) -> bytes:
    """The program for a stage's processes: everything but what looks into others or out of the room.

    Refused calls fail with EPERM; `clone3` with ENOSYS, so that libc falls back to `clone`, whose flags can
    be looked at; socket families other than Unix, IPv4, IPv6 and netlink with EAFNOSUPPORT (a vsock knows no
    network namespace). Raises ValueError as `allow_list` does.
    """
    known = _machine(machine)
    return _assemble([
        *_of_every_stage(known),
        *_with_argument(known.numbers["socket"], 0, _families(_SOCKET_FAMILIES)),
        (_RETURN, 0, 0, _ALLOW),
    ])


def deny_list_without_namespaces(machine: str | None = None, *, network: bool) -> bytes:
    """As `deny_list`, for processes that share the host's network, its memory for all and its process ids.

    With `network` they may have TCP sockets (whom they connect to is Landlock's matter), else none; pairs of
    connected Unix sockets in any case. No call names another process than the caller. Refused with EPERM, or
    EAFNOSUPPORT and EPROTONOSUPPORT where a socket's family or protocol is; watching of folders with ENOSYS,
    so that programs look for themselves. Raises ValueError.
    """
    known = _machine(machine)
    refused = _refuse(errno.EPERM)
    socket, pair = known.numbers["socket"], known.numbers["socketpair"]
    # MPTCP and SCTP are streams too, which Landlock does not look at; fast open connects without being seen.
    return _assemble([
        *_of_every_stage(known),
        *_verdicts(known.known(_WITHOUT_NAMESPACES_MAY_NOT), refused),
        *_verdicts(known.known(_WATCHES), _refuse(errno.ENOSYS)),
        *(step for name, argument in _ONLY_FOR_ITSELF.items()
          for step in _with_argument(known.numbers[name], argument, _unless([0], refused))),
        *_with_argument(socket, 0, _families((_IPV4, _IPV6) if network else ())),
        *_with_argument(socket, 1, [(_AND, 0, 0, _KIND_OF_SOCKET), *_unless([_STREAM], refused)]),
        *_with_argument(socket, 2, _unless(_TCP, _refuse(errno.EPROTONOSUPPORT))),
        *_with_argument(pair, 0, _families((_UNIX,))),
        *_with_argument(pair, 1, [(_AND, 0, 0, _KIND_OF_SOCKET), *_unless([_STREAM, _SEQPACKET], refused)]),
        *(step for name, argument in _FLAGS_OF_SENDING.items()
          for step in _with_argument(known.numbers[name], argument, [
              (_JUMP_ANY_BIT, 0, 1, _FAST_OPEN),
              (_RETURN, 0, 0, refused),
          ])),
        (_RETURN, 0, 0, _ALLOW),
    ])  # fmt: skip


_Instruction = tuple[int, int, int, int]


def _machine(name: str | None) -> _Machine:
    name = name or os.uname().machine
    if name not in _MACHINES:
        raise ValueError(
            f"no system call numbers for a {name} are known here, so nothing can be shut in on it; "
            f"known: {', '.join(sorted(_MACHINES))}"
        )
    return _MACHINES[name]


def _preface(machine: _Machine, *, second_table: int) -> list[_Instruction]:
    """Kill what speaks another architecture's calls; leave the call's number loaded."""
    preface = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_JUMP_EQUAL, 1, 0, machine.audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if machine.second_table:
        preface += [(_JUMP_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, second_table)]
    return preface


def _of_every_stage(known: _Machine) -> list[_Instruction]:
    """What no stage may do, at whatever level."""
    return [
        *_preface(known, second_table=_refuse(errno.ENOSYS)),
        *_verdicts(known.known(_STAGE_MAY_NOT), _refuse(errno.EPERM)),
        *_verdicts(known.known(["clone3"]), _refuse(errno.ENOSYS)),
        *_with_argument(known.numbers["clone"], 0, [
            (_JUMP_ANY_BIT, 0, 1, _NEW_NAMESPACES),
            (_RETURN, 0, 0, _refuse(errno.EPERM)),
        ]),
        *_with_argument(known.numbers["ioctl"], 1, _verdicts(_TERMINAL_INJECTIONS, _refuse(errno.EPERM))),
    ]


def _families(allowed: Sequence[int]) -> list[_Instruction]:
    return _unless(allowed, _refuse(errno.EAFNOSUPPORT))


def _unless(values: Sequence[int], verdict: int) -> list[_Instruction]:
    """Where none of the values is loaded, that is the end."""
    return [*_jumps_over(values, 1), (_RETURN, 0, 0, verdict)]


def _verdicts(values: Iterable[int], verdict: int) -> list[_Instruction]:
    """For each value: where it is what is loaded, that is the end."""
    return [
        instruction
        for value in values
        for instruction in ((_JUMP_EQUAL, 0, 1, value), (_RETURN, 0, 0, verdict))
    ]


def _jumps_over(values: Sequence[int], following: int) -> list[_Instruction]:
    """Where one of the values is loaded, go on after the `following` instructions behind these."""
    return [
        (_JUMP_EQUAL, len(values) - 1 - at + following, 0, value) for at, value in enumerate(values)
    ]


def _with_argument(number: int, argument: int, body: Sequence[_Instruction]) -> list[_Instruction]:
    """Run `body` on the low half of an argument of one call, then load the number again.

    The kernel reads these arguments (flags, requests, families) as 32 bits, and so does the filter.
    """
    return [
        (_JUMP_EQUAL, 0, len(body) + 2, number),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT + 8 * argument),
        *body,
        (_LOAD, 0, 0, _NUMBER_AT),
    ]


def _refuse(code: int) -> int:
    return 0x00050000 | code


def _assemble(program: Sequence[_Instruction]) -> bytes:
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
