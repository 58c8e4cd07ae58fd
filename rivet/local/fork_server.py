"""The fork server: has loaded what Rivet's own parts load, and becomes each of them in a child of its own.

    python -P -m rivet.local.fork_server SOCKET

Parts that are forked share what was loaded once: the memory of it, and the time. It is executed anew
instead of forked from the supervisor, and a child reads its request itself, so that nobody has in memory what
was meant for another: a runner knows no database and no key (`docs/adr/0019-one-fork-server.md`).

Over SOCKET, a pair of SOCK_SEQPACKET, each message that comes hands over one end of a stream with a
`ForkRequest`; what goes back is `{"forked": PID}`, and `{"ended": PID, "status": …}` once a child has ended.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

from rivet.local.processes import die_with_parent

LOADED = (
    "rivet.app", "rivet.api.worker", "rivet.api.server_log", "gunicorn.app.wsgiapp",
    "rivet.wiring.control", "rivet.wiring.runner", "rivet.runner.perform", "rivet.runner.run_stage",
    "rivet.runner.take_job", "celery.apps.worker", "celery.app.amqp", "celery.app.control",
    "celery.app.events", "celery.app.log", "celery.backends.redis", "celery.concurrency.prefork",
    "celery.concurrency.thread", "celery.worker.autoscale", "celery.worker.components",
    "celery.worker.consumer", "celery.worker.strategy", "kombu.transport.redis",
    "sqlalchemy.dialects.postgresql.psycopg2",
)  # fmt: skip
"""Loading them makes no thread, reads no setting of ours and opens nothing; a test holds them to it."""

_REQUEST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ForkRequest:
    """What a child is to become: `python -P -m MODULE ARGUMENTS`, called `title` in lists of processes.

    `death_signal` reaches it when the server ends. `log` is a file that its output is added to.
    """

    title: str
    module: str
    arguments: tuple[str, ...]
    env: dict[str, str] = field(repr=False)
    folder: str
    log: str
    death_signal: int

    def pack(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def read(cls, raw: bytes) -> "ForkRequest":
        told: dict[str, Any] = json.loads(raw)
        return cls(**told | {"arguments": tuple(told["arguments"])})


def main() -> None:
    """Serve until the supervisor is gone; in each child, this returns when the part has ended."""
    die_with_parent(signal.SIGKILL, os.getppid())
    requests = socket.socket(fileno=int(sys.argv[1]))
    for module in LOADED:
        importlib.import_module(module)
    # Without this, looking for garbage would write to all of the memory that is to be shared.
    gc.collect()
    gc.freeze()
    stream = _serve(requests)
    if stream is not None:
        _become(stream)


def _serve(requests: socket.socket) -> socket.socket | None:
    """Fork for each request. Returns in the children, with the stream that theirs comes on; else None."""
    ours = os.getpid()
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        readable, _, _ = select.select([requests.fileno(), woken], [], [])
        if requests.fileno() in readable:
            told, passed, _, _ = socket.recv_fds(requests, 16, 1)
            if not told:
                return None
            stream = socket.socket(fileno=passed[0])
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                requests.close()
                os.close(woken)
                os.close(wake)
                die_with_parent(signal.SIGKILL, ours)
                return stream
            stream.close()
            requests.send(json.dumps({"forked": pid}).encode())
        if woken in readable:
            os.read(woken, 4096)
            _collect(requests)


def _collect(requests: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            pid, status = ended
            requests.send(json.dumps({"ended": pid, "status": os.waitstatus_to_exitcode(status)}).encode())


def _become(stream: socket.socket) -> None:
    """Read the request and carry it out, as the interpreter would have that was started for it."""
    raw = b""
    while block := stream.recv(_REQUEST_BYTES):
        raw += block
    stream.close()
    request = ForkRequest.read(raw)
    os.setsid()
    die_with_parent(signal.Signals(request.death_signal), os.getppid())
    log = os.open(request.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.fchmod(log, 0o600)
    for number in (1, 2):
        os.dup2(log, number)
    os.close(log)
    os.environ.clear()
    os.environ.update(request.env)
    os.chdir(request.folder)
    # The title takes no more room than our own arguments have, or what is behind them would be overwritten.
    os.environ["SPT_NOENV"] = "1"
    from setproctitle import setproctitle

    setproctitle(request.title)
    sys.argv = [request.module, *request.arguments]
    runpy.run_module(request.module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
