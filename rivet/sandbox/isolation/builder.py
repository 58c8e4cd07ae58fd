"""The warm process from which the agents of rooms are forked: each begins shut in, with Python loaded.

Run by itself with an empty environment (`built.py` starts it). It speaks over one SEQPACKET socket: a
message with descriptors asks for a room. The first has what it is made of, the second is where its pid 1
is told (a pidfd), the third is for complaints, and the rest are what the room's program is to have. What
is told there is read by the fork alone: nothing of any room comes into the memory that others are forked
from. It ends with its owner, or when that closes the channel, and all rooms end with it.
"""

import _signal  # type: ignore[import-not-found]
import _socket
import fcntl
import gc
import marshal
import os
import sys

from rivet.sandbox import agent, file_search, file_trees, file_work, files, seccomp, spawn, watch
from rivet.sandbox.isolation import kernel
from rivet.sandbox.isolation.shut_in import Parts, shut_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOST_DESCRIPTORS = 32
ASK, READY, STANDS = b"room", b"ready", b"stands"
NAME, NAME_OF_AGENTS = b"rivet-builder", b"rivet-agent"
LOADED = (file_search, file_trees, file_work, files, spawn, watch)
"""What an agent imports when it first needs it: here it is there already."""

_NOTHING, _COMPLAINTS = "/dev/null", 2
_AT_ONCE = 1 << 20
_WITH_DESCRIPTORS = _socket.CMSG_LEN(4 * MOST_DESCRIPTORS)


def main(owner: int, channel: int, common: int, packages: "list[Any]") -> None:
    """Serve one owner. `common` is a descriptor of the files that all rooms have, marshalled.

    `packages` are those of ours: nothing more is to be imported from them, wherever they lie.
    """
    kernel.call("prctl", kernel.PR_SET_PDEATHSIG, int(_signal.SIGKILL), 0, 0, 0)
    if os.getppid() != owner:
        return
    # Rooms become our children.
    kernel.call("prctl", kernel.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _signal.signal(_signal.SIGCHLD, _reap)
    kernel.name_process(NAME)
    for package in packages:
        package.__path__ = []
    nothing = os.open(_NOTHING, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(nothing, 0)
    os.close(nothing)
    asked = _socket.socket(fileno=channel)
    builder = _Builder(_read(common))
    os.close(common)
    gc.collect()
    gc.freeze()
    gc.disable()
    asked.send(READY)
    while True:
        message, parts, _, _ = asked.recvmsg(len(ASK), _WITH_DESCRIPTORS, agent.CLOSE_ON_EXEC)
        if not message:
            return
        descriptors = agent.descriptors(parts)
        if os.fork() == 0:
            builder.become_room(descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


class _Builder:
    """What is there before a fork, and needs not be made after it."""

    def __init__(self, common: "dict[bytes, bytes]") -> None:
        self._common = common
        self._itself = os.pidfd_open(os.getpid())
        self._program = kernel.Filter(seccomp.deny_list())

    def become_room(self, descriptors: list[int]) -> None:
        """In the child: become a room's pid 1, and its program. Does not return."""
        try:
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
            os.dup2(descriptors[2], _COMPLAINTS)
            told = _read(descriptors[0])
            keep: list[int] = told["keep"]
            answers, builder = _arranged(descriptors[3:], keep, [descriptors[1], self._itself])
            shut_in(Parts(told), self._common, self._program, builder)
            _say_that_it_stands(answers)
            _close_all_but(keep)
            _run(told["argv"], is_agent=told["is_agent"])
        except OSError as error:
            os.write(_COMPLAINTS, f"{error}\n".encode())
        finally:
            os._exit(1)


def _reap(_number: int, _frame: object) -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _say_that_it_stands(answers: int) -> None:
    answer = _socket.socket(fileno=answers)
    itself = os.pidfd_open(os.getpid())
    rights = itself.to_bytes(4, sys.byteorder)
    answer.sendmsg([STANDS], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    os.close(itself)
    answer.close()


def _run(argv: list[str], *, is_agent: bool) -> None:
    if not is_agent:
        os.execve(argv[0], argv, {})
    kernel.name_process(NAME_OF_AGENTS)
    gc.enable()
    sys.argv[:] = argv
    agent.main(argv[1:])


def _read(descriptor: int) -> "dict[Any, Any]":
    size = os.fstat(descriptor).st_size
    told: dict[Any, Any] = marshal.loads(os.pread(descriptor, size, 0))  # noqa: S302
    return told


def _arranged(given: list[int], wanted: list[int], others: list[int]) -> list[int]:
    """Give the program's descriptors the numbers that it knows them by; the others' new numbers."""
    above = max([*wanted, *given, *others]) + 1
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for fd in [*given, *others]]
    os.closerange(_COMPLAINTS + 1, above)
    for fd, number in zip(moved, wanted, strict=False):
        os.dup2(fd, number, True)
        os.close(fd)
    return moved[len(given) :]


def _close_all_but(kept: list[int]) -> None:
    """Besides standard input, output and complaints: what the program is to have."""
    last = _COMPLAINTS
    for fd in [*sorted(kept), _AT_ONCE]:
        os.closerange(last + 1, fd)
        last = fd
