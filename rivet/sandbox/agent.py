"""The agent of a room: starts processes on request, reaps, kills, and works with files.

Runs by itself (`python -I -S agent.pyc CONTROL_FD PING_S ADDRESSES LIMITS WORKSPACE HOME TMP CAGE`), imports
nothing of ours but its neighbours, for files when it is first asked for one, and as little as possible of
the rest: its start is the price of a room. It holds no secret. What it says is not believed on the other
side, and it ends, and with it everything in the room, when its supervisor closes the control socket or does
not speak for PING_S seconds.

It is pid 1 of the room's own processes where CAGE is `pid-1`; else the room has no namespaces, and CAGE is
the descriptor of a ruleset that each command enters, or `-` for none (`on_host.py`).

A request is four bytes of length and a marshalled tuple `(verb, id, ...)`, with file descriptors sent along
with the length. An answer is four bytes of length, a line `kind id number`, and bytes.
"""

import _ctypes
import _signal  # type: ignore[import-not-found]
import _socket
import marshal
import posix
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

MAX_ANSWER = 8 << 20
MAX_REQUEST = 16 << 20
PR_SET_DUMPABLE = 4
RLIMIT_NPROC, RLIMIT_NOFILE = 6, 7
LOOK_S = 0.25
NOT_EMPTY = 2
SPARE_PROCESSES = 16
"""Above the limit, so that it can be seen to be passed; and the agent itself is one."""
SOL_SOCKET, SCM_RIGHTS = _socket.SOL_SOCKET, _socket.SCM_RIGHTS
CLOSE_ON_EXEC = 0x40000000

FOLDERS: list[bytes] = []
"""The workspace, and the other folders whose files count as the stage's."""


class Gone(Exception):
    """The supervisor has closed the control socket."""


class OwnNamespace:
    """A room of namespaces: all processes that there are, and they end with the agent, which is pid 1."""

    is_told_to_end = False
    is_entered_by_fork = True
    """What is forked here is in it, and ends with it."""

    def pids(self) -> list[int]:
        return [pid for pid in _pids() if pid != 1]

    def enter(self) -> None:
        """Whatever is started here is in it."""

    def signal_all(self, number: int) -> None:
        _signal_to(-1, number)

    def end(self) -> bool:
        return True

    def tasks_of_user(self) -> int:
        """Processes are counted in this room's own user namespace."""
        return 0


class Agent:
    def __init__(self, control_fd: int, ping_s: float, limits: list[int], room: "Any") -> None:
        self.control = _socket.socket(fileno=control_fd)
        self.ping_s = ping_s
        self.deadline = time.monotonic() + ping_s
        self.commands: dict[int, int] = {}
        self.limits = limits
        self.room = room
        self.watch: Any = None
        self.next_look = time.monotonic() + LOOK_S

    def serve(self) -> None:
        """Answer until the supervisor is gone or silent; then everything in the room ends with pid 1."""
        wakeup, wake = posix.pipe2(posix.O_NONBLOCK | posix.O_CLOEXEC)
        _signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        _signal.signal(_signal.SIGCHLD, _ignore)
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(wakeup, select.POLLIN)
        while not self.room.is_told_to_end:
            now = time.monotonic()
            if now >= self.deadline:
                return
            if now >= self.next_look:
                if self.is_over(self.watched().look()):
                    return
                self.next_look = time.monotonic() + LOOK_S
            left = min(self.deadline, self.next_look) - now
            for fd, _ in poll.poll(max(0, int(left * 1000)) + 1):
                if fd == wakeup:
                    _drain(wakeup)
                else:
                    self.hear()
            self.reap()

    def watched(self) -> "Any":
        if self.watch is None:
            self.watch = _library("watch").Watch(*self.limits, FOLDERS, self.room.pids)
        return self.watch

    def is_over(self, over: "tuple[str, int] | None") -> bool:
        """Say which limit has been passed, if one has: the room then ends, for nothing in it is to go on."""
        if over is not None:
            self.say(b"over", 0, over[1], over[0].encode())
        return over is not None

    def hear(self) -> None:
        head, fds = self.receive_head()
        size = min(int.from_bytes(head, "big"), MAX_REQUEST)
        verb, ident, *rest = marshal.loads(self.receive(size))  # noqa: S302
        self.deadline = time.monotonic() + self.ping_s
        try:
            self.act(verb, ident, rest, fds)
        except OSError as error:
            self.say(b"error", ident, error.errno or 0, str(error.strerror).encode())
        finally:
            for fd in fds:
                posix.close(fd)

    def act(self, verb: str, ident: int, rest: "list[Any]", fds: list[int]) -> None:
        if verb == "run":
            argv, env, cwd = rest
            self.run(ident, argv, env, cwd, fds)
        elif verb == "work":
            self.has_started(ident, _library("spawn").start_work(self.room, _file_work().work, rest[0], fds))
        elif verb == "file":
            operation, *arguments = rest
            self.say(b"answer", ident, *_file_work().QUICK[operation](*arguments))
        elif verb == "connect":
            self.say(b"answer", ident, _listens(*rest), b"")
        elif verb == "kill":
            self.kill(*rest)
        elif verb == "measure":
            if self.is_over(self.watched().measure()):
                raise Gone
            self.say(b"answer", ident, 0, b"")
        elif verb == "alive":
            self.say(b"answer", ident, len(self.room.pids()), b"")

    def run(self, ident: int, argv: list[bytes], env: dict[bytes, bytes], cwd: bytes, fds: list[int]) -> None:
        """Start a command, and say how that went."""
        spawn = _library("spawn")
        try:
            pid = spawn.start(self.room, argv, env, cwd, fds)
        except spawn.NotStarted as failed:
            self.say(b"failed", ident, failed.number, failed.step)
            return
        self.has_started(ident, pid)

    def has_started(self, ident: int, pid: int) -> None:
        self.commands[pid] = ident
        self.say(b"started", ident, pid, b"")

    def kill(self, pid: int, signal: int) -> None:
        """Send a signal to a command and its descendants, or with pid -1 to everything but the agent."""
        if pid == -1:
            self.room.signal_all(signal)
            return
        for each in _tree(pid):
            _signal_to(each, signal)

    def reap(self) -> None:
        while True:
            try:
                pid, status = posix.waitpid(-1, posix.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            ident = self.commands.pop(pid, None)
            if ident is not None:
                self.say(b"ended", ident, posix.waitstatus_to_exitcode(status), b"")

    def receive_head(self) -> tuple[bytes, list[int]]:
        head, parts, _, _ = self.control.recvmsg(4, 256, CLOSE_ON_EXEC)
        fds = descriptors(parts)
        if not head:
            raise Gone
        return head + self.receive(4 - len(head)), fds

    def receive(self, size: int) -> bytes:
        parts = []
        while size:
            part = self.control.recv(min(size, 1 << 16))
            if not part:
                raise Gone
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def say(self, kind: bytes, ident: int, number: int, payload: bytes, fds: tuple[int, ...] = ()) -> None:
        body = b"%s %d %d\n" % (kind, ident, number) + payload[:MAX_ANSWER]
        rights = b"".join(fd.to_bytes(4, sys.byteorder) for fd in fds)
        extra = [(SOL_SOCKET, SCM_RIGHTS, rights)] if fds else []
        self.control.sendmsg([len(body).to_bytes(4, "big")], extra)
        self.control.sendall(body)


def descriptors(parts: "list[tuple[int, int, bytes]]") -> list[int]:
    """Those that came along with a message."""
    fds = []
    for level, kind, data in parts:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            numbers = range(0, len(data) & ~3, 4)
            fds += [int.from_bytes(data[at : at + 4], sys.byteorder) for at in numbers]
    return fds


def _ignore(_number: int, _frame: object) -> None:
    """A handler must exist for the wakeup pipe to be written."""


def _drain(fd: int) -> None:
    try:
        while len(posix.read(fd, 4096)) == 4096:
            pass
    except BlockingIOError:
        pass


def _pids() -> list[int]:
    return [int(name) for name in posix.listdir("/proc") if name.isdigit()]


def _tree(root: int) -> list[int]:
    """The command, what descends from it, and what shares its session; orphans have left the tree."""
    parents = {}
    members = {root}
    for pid in _pids():
        try:
            fd = posix.open(f"/proc/{pid}/stat", posix.O_RDONLY | posix.O_CLOEXEC)
            fields = posix.read(fd, 1024).rpartition(b")")[2].split()
            posix.close(fd)
        except OSError:
            continue
        if len(fields) > 3:
            parents[pid] = int(fields[1])
            if int(fields[3]) == root:
                members.add(pid)
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in members and pid not in members}
        members |= more
        grown = bool(more)
    return sorted(members - {1, posix.getpid()})


def _signal_to(pid: int, number: int) -> None:
    try:
        posix.kill(pid, number)
    except ProcessLookupError:
        pass


def _library(name: str) -> "ModuleType":
    """A neighbour of ours, loaded at the first use. It is found beside the agent, or is there already."""
    library = sys.argv[0].rpartition("/")[0] + "/lib"
    if library not in sys.path:
        sys.path.insert(0, library)
    module: ModuleType = getattr(__import__("rivet.sandbox", fromlist=[name]), name)
    return module


def _file_work() -> "ModuleType":
    _library("files").ROOT = FOLDERS[0]  # type: ignore[attr-defined]
    return _library("file_work")


def _listens(port: int) -> int:
    """Whether something listens at this port of the room's loopback."""
    for family, host in ((_socket.AF_INET, "127.0.0.1"), (_socket.AF_INET6, "::1")):
        try:
            probe = _socket.socket(family, _socket.SOCK_STREAM)
        except OSError:
            continue
        try:
            probe.settimeout(1)
            probe.connect((host, port))
        except OSError:
            continue
        finally:
            probe.close()
        return 1
    return 0


def _make_undumpable() -> None:
    """Close /proc/1 to the room's processes, which have the same user id."""
    prctl = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")  # type: ignore[arg-type]
    if _ctypes.call_cdeclfunction(prctl, (PR_SET_DUMPABLE, 0, 0, 0, 0)) != 0:
        raise OSError("cannot make the agent undumpable")


def _limit(number: int, most: int) -> None:
    """For this process and all that it starts."""
    setrlimit = _ctypes.dlsym(_ctypes.dlopen(None, 0), "setrlimit")  # type: ignore[arg-type]
    if _ctypes.call_cdeclfunction(setrlimit, (number, most.to_bytes(8, sys.byteorder) * 2)) != 0:
        raise OSError("cannot limit what the room may use")


def _listeners(addresses: list[str]) -> "list[_socket.socket]":
    """In the order of the addresses. The first takes any port, and so is bound last: never another's."""
    made = [_listener(address) for address in reversed(addresses)]
    return [listener for listener in reversed(made) if listener is not None]


def _listener(address: str) -> "_socket.socket | None":
    """Listens in the room's own network; the supervisor accepts on it. None where the port cannot be had."""
    host, _, port = address.partition(":")
    if not host:
        return None
    listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    try:
        listener.bind((host, int(port)))
        listener.listen(128)
    except OSError:
        listener.close()
        return None
    return listener


def main(told: list[str]) -> None:
    """Exits with NOT_EMPTY where something of the room is left. What fails before `serve` started nothing."""
    control_fd, ping_s, addresses = int(told[0]), float(told[1]), told[2]
    *limits, open_files = (int(limit) for limit in told[3].split(","))
    FOLDERS[:] = [path.encode("utf-8", "surrogateescape") for path in told[4:7] if path]
    _make_undumpable()
    posix.set_inheritable(control_fd, False)
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    posix.umask(0o022)
    room = _room(told[7])
    agent = Agent(control_fd, ping_s, limits, room)
    listeners = _listeners(addresses.split(","))
    agent.say(b"ready", 0, 0, b"", tuple(listener.fileno() for listener in listeners))
    for listener in listeners:
        listener.close()
    _limit(RLIMIT_NPROC, room.tasks_of_user() + limits[0] + SPARE_PROCESSES + 1)
    _limit(RLIMIT_NOFILE, open_files)
    try:
        agent.serve()
    except (Gone, OSError):
        pass
    finally:
        if not room.end():
            posix._exit(NOT_EMPTY)


def _room(cage: str) -> "Any":
    if cage == "pid-1":
        return OwnNamespace()
    return _library("on_host").OnHost(-1 if cage == "-" else int(cage))


if __name__ == "__main__":
    main(sys.argv[1:])
