"""A process that has Python and Lua loaded and forks confined Lua children on request.

It is run as a script, by `python -I -S` with an empty environment, and speaks over one SEQPACKET socket:

    owner  → {"memory", "cpu_s"} with two descriptors: the child's frames, and where its end is told
    zygote → the child's process id, with its pidfd

A child's end is written to the second descriptor as `waitid` tells it: `code` and `status` in two bytes.
The zygote ends when its owner does, and its children end with it. It imports nothing of ours but its
neighbours, which are the standard library alone.

    python -I -S zygote.py OWNER_PID CHANNEL_FD UID|- FOLDER_OF_RIVET FOLDER_OF_LUPA
"""

import array
import contextlib
import gc
import json
import os
import resource
import select
import socket
import struct
import sys

if __name__ == "__main__":
    sys.path += sys.argv[4:6]

from rivet.sandbox import child, confine, seccomp

MAX_REQUEST = 4096
ADDRESS_SPACE_BESIDE_LUA = 64 * 1024 * 1024
MOST_DESCRIPTORS = 1 << 20


def main(owner: int, channel: int, uid: int | None) -> None:
    """Serve one owner until it closes the channel or ends."""
    confine.die_with(owner)
    with contextlib.suppress(PermissionError):
        confine.leave_network()
    zygote = Zygote(socket.socket(fileno=channel), confine.Confinement(seccomp.allow_list(), uid))
    gc.collect()
    gc.freeze()
    gc.disable()
    zygote.serve()


class Zygote:
    """What forks and reaps."""

    def __init__(self, channel: socket.socket, confinement: confine.Confinement) -> None:
        self._channel = channel
        self._confinement = confinement
        self._prelude = child.compiled_prelude(os.path.dirname(os.path.abspath(__file__)))
        self._nothing = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
        self._mapped = _mapped_bytes()
        self._ends: dict[int, int] = {}
        self._poll = select.poll()
        self._poll.register(channel, select.POLLIN)

    def serve(self) -> None:
        """Say that all is loaded, then fork and reap until the owner has closed the channel."""
        self._channel.send(b"ready")
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor != self._channel.fileno():
                    self._reap(descriptor)
                elif not self._fork():
                    return

    def _fork(self) -> bool:
        request, descriptors, _, _ = socket.recv_fds(self._channel, MAX_REQUEST, 2)
        if not request:
            return False
        frames, end = descriptors
        told = json.loads(request)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_child(parent, frames, told)
        os.close(frames)
        pidfd = os.pidfd_open(pid)
        self._ends[pidfd] = end
        self._poll.register(pidfd, select.POLLIN)
        self._channel.sendmsg(
            [struct.pack("<i", pid)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [pidfd]))]
        )
        return True

    def _become_child(self, parent: int, frames: int, told: dict[str, int]) -> None:
        code = child.NOT_CONFINED
        try:
            for wanted, source in enumerate((frames, frames, self._nothing)):
                os.dup2(source, wanted)
            os.closerange(3, MOST_DESCRIPTORS)
            self._confinement.enter(parent, self._limits(told))
            code = child.serve(self._prelude, told["memory"])
        finally:
            os._exit(code)

    def _limits(self, told: dict[str, int]) -> dict[int, int]:
        return {
            resource.RLIMIT_AS: self._mapped + told["memory"] * 2 + ADDRESS_SPACE_BESIDE_LUA,
            resource.RLIMIT_CPU: told["cpu_s"],
            resource.RLIMIT_FSIZE: 0,
            resource.RLIMIT_NOFILE: 3,
            resource.RLIMIT_NPROC: 0,
            resource.RLIMIT_CORE: 0,
        }

    def _reap(self, pidfd: int) -> None:
        ended = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
        if ended is None:
            return
        self._poll.unregister(pidfd)
        os.close(pidfd)
        end = self._ends.pop(pidfd)
        with contextlib.suppress(OSError):  # nobody asks any more
            os.write(end, bytes([ended.si_code & 0xFF, ended.si_status & 0xFF]))
        os.close(end)


def _mapped_bytes() -> int:
    """The address space that this process has, and a child begins with."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), None if sys.argv[3] == "-" else int(sys.argv[3]))
