"""How the agent starts commands, and work of its own. Loaded by the agent; it imports nothing of ours.

Where nothing is to be done between a command's fork and its program, the kernel does both in one, without a
copy of the agent's memory: that takes half of the time.
"""

import _signal  # type: ignore[import-not-found]
import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_NOT_FOUND, _NO_FOLDER, _NOT_PERMITTED, _NO_MORE, _NO_INTERPRETER = 2, 20, 13, 11, -1
_NOTHING = b"/dev/null"
_ROOT = "/"
_RESET = (_signal.SIGCHLD, _signal.SIGINT, _signal.SIGPIPE, _signal.SIGXFSZ)


class NotStarted(Exception):
    """A command could not be started: by which step (`cwd`, `start`, `exec`), and its errno."""

    def __init__(self, step: bytes, number: int) -> None:
        super().__init__(step, number)
        self.step, self.number = step, number


def start(room: "Any", argv: list[bytes], env: dict[bytes, bytes], cwd: bytes, fds: list[int]) -> int:
    """Start a command as a session of its own, with `fds` as its standard ones (of two, output and errors).

    Its process id. argv[0] is looked for in env's PATH. Raises NotStarted, and OSError where there can be no
    more processes.
    """
    if room.is_entered_by_fork:
        return _spawned(argv, env, cwd, fds)
    return _forked(room, argv, env, cwd, fds)


def start_work(room: "Any", work: "Callable[[list[bytes]], int]", argv: list[bytes], fds: list[int]) -> int:
    """Do work of our own in a process of its own, whose id it gives. Raises OSError."""
    pid = posix.fork()
    if pid == 0:
        _do(room, work, argv, fds)
    return pid


def _spawned(argv: list[bytes], env: dict[bytes, bytes], cwd: bytes, fds: list[int]) -> int:
    try:
        posix.chdir(cwd)
    except OSError as error:
        raise NotStarted(b"cwd", error.errno or 0) from None
    try:
        return _first(argv, env, _actions(fds))
    finally:
        # Which is always there, and can be entered whatever a stage does.
        posix.chdir(_ROOT)


def _actions(fds: list[int]) -> "list[tuple[Any, ...]]":
    # What is received is never one of the first three: the agent has those itself.
    actions: list[tuple[Any, ...]] = []
    if len(fds) == 2:
        actions.append((posix.POSIX_SPAWN_OPEN, 0, _NOTHING, posix.O_RDONLY, 0))
    first = 3 - len(fds)
    return actions + [(posix.POSIX_SPAWN_DUP2, fd, first + at) for at, fd in enumerate(fds)]


def _first(argv: list[bytes], env: dict[bytes, bytes], actions: "list[tuple[Any, ...]]") -> int:
    """Start the first of the candidates that can be; the most telling errno if none could."""
    found = _NOT_FOUND
    for candidate in _candidates(argv[0], env):
        if not _is_there(candidate):
            continue
        try:
            return posix.posix_spawn(
                candidate, argv, env, file_actions=actions, setsid=True, setsigdef=_RESET
            )
        except OSError as error:
            if error.errno == _NO_MORE:
                raise
            found = _told(error, candidate)
            if found != _NOT_PERMITTED:
                break
    raise NotStarted(b"exec", found)


def _forked(room: "Any", argv: list[bytes], env: dict[bytes, bytes], cwd: bytes, fds: list[int]) -> int:
    """How starting failed comes back through a pipe that a good exec closes."""
    result, told = posix.pipe2(posix.O_CLOEXEC)
    pid = posix.fork()
    if pid == 0:
        _become(room, argv, env, cwd, fds, told)
    posix.close(told)
    failure = b""
    while part := posix.read(result, 4096):
        failure += part
    posix.close(result)
    if failure:
        posix.waitpid(pid, 0)
        step, _, number = failure.partition(b" ")
        raise NotStarted(step, int(number))
    return pid


def _become(
    room: "Any", argv: list[bytes], env: dict[bytes, bytes], cwd: bytes, fds: list[int], told: int
) -> None:
    """In the child: turn into the command, or say by which step and errno that failed. Does not return."""
    step = b"start"
    error = 0
    try:
        posix.setsid()
        for number in _RESET:
            _signal.signal(number, _signal.SIG_DFL)
        room.enter()
        step = b"cwd"
        posix.chdir(cwd)
        step = b"start"
        _take(fds)
        step = b"exec"
        error = _exec(argv, env)
    except OSError as failed:
        error = failed.errno or 0
    except BaseException:  # noqa: BLE001
        # This must never return into the agent's own loop.
        error = 0
    posix.write(told, b"%s %d" % (step, error))
    posix._exit(127)


def _do(room: "Any", work: "Callable[[list[bytes]], int]", argv: list[bytes], fds: list[int]) -> None:
    """In the child: do work of our own. Does not return."""
    code = 70
    try:
        posix.setsid()
        _signal.set_wakeup_fd(-1)
        room.enter()
        _take(fds)
        code = work(argv)
    finally:
        posix._exit(code)


def _take(fds: list[int]) -> None:
    """Make the descriptors this process's standard ones."""
    if len(fds) == 2:
        fds = [posix.open(_NOTHING, posix.O_RDONLY | posix.O_CLOEXEC), *fds]
    # Moved above 2 first: a later dup2 must not write over one that is still needed.
    fds = [fd if fd > 2 else _above(fd) for fd in fds]
    for number, fd in enumerate(fds):
        posix.dup2(fd, number, True)


def _above(fd: int) -> int:
    spare = []
    while fd <= 2:
        spare.append(fd)
        fd = posix.dup(fd)
    posix.set_inheritable(fd, False)
    return fd


def _exec(argv: list[bytes], env: dict[bytes, bytes]) -> int:
    """Replace this process by the first of the candidates; the most telling errno if none could be."""
    found = _NOT_FOUND
    for candidate in _candidates(argv[0], env):
        try:
            posix.execve(candidate, argv, env)
        except OSError as error:
            if error.errno not in (_NOT_FOUND, _NO_FOLDER) or _is_there(candidate):
                found = _told(error, candidate)
                if found != _NOT_PERMITTED:
                    return found
    return found


def _candidates(name: bytes, env: dict[bytes, bytes]) -> "Iterator[bytes]":
    if b"/" in name:
        yield name
        return
    for folder in env.get(b"PATH", b"").split(b":"):
        if folder:
            yield folder + b"/" + name


def _told(error: OSError, candidate: bytes) -> int:
    """The errno; where the file is there, what is missing is the interpreter of its first line."""
    is_missing = error.errno in (_NOT_FOUND, _NO_FOLDER) and _is_there(candidate)
    return _NO_INTERPRETER if is_missing else error.errno or 0


def _is_there(path: bytes) -> bool:
    try:
        posix.stat(path)
    except OSError as error:
        # A folder on the way may be closed: then there may be something, and starting it says so.
        return error.errno == _NOT_PERMITTED
    return True
