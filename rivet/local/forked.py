"""The supervisor's side of the fork server: ask for a part, and know whether it runs."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rivet.local.fork_server import ForkRequest
from rivet.local.processes import Identity, identity_of

FORK_TIMEOUT_S = 30.0
LOOK_S = 0.01


class ForkServerGone(OSError):
    """It ended, or gave no answer within the time that it may take."""


@dataclass(frozen=True)
class _Link:
    """One life of the fork server, and the socket to it. `ended` has the exit codes that it told."""

    process: "subprocess.Popen[bytes]"
    requests: socket.socket
    ended: dict[int, int] = field(default_factory=dict)

    def is_up(self) -> bool:
        return self.process.poll() is None

    def hear(self) -> dict[str, Any]:
        """The next that it tells. Raises OSError where there is nothing to be told."""
        raw = self.requests.recv(4096)
        if not raw:
            raise ForkServerGone("it has ended")
        told: dict[str, Any] = json.loads(raw)
        if "ended" in told:
            self.ended[told["ended"]] = told["status"]
        return told

    def hear_all(self) -> None:
        """All that it has told by now."""
        try:
            while select.select([self.requests], [], [], 0)[0]:
                self.hear()
        except (OSError, ValueError):
            return  # it is gone, and what it had to tell with it

    def end(self) -> None:
        self.requests.close()
        self.process.kill()
        self.process.wait()


@dataclass
class Forked:
    """A part that was forked: what of `subprocess.Popen` is needed of it."""

    link: _Link
    pid: int
    identity: Identity
    returncode: int | None = None

    def poll(self) -> int | None:
        """Without its server nobody is told how it ended: it counts as killed once it is gone."""
        if self.returncode is None:
            self.link.hear_all()
            self.returncode = self.link.ended.pop(self.pid, None)
        if self.returncode is None and not self.link.is_up() and not self.identity.is_alive():
            self.returncode = -int(signal.SIGKILL)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
            time.sleep(LOOK_S)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            self.identity.send(number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@dataclass
class ForkServer:
    """For one thread, whose end is its end. It is started with the first use, and again where it has died."""

    folder: Path
    log: Path
    env: Mapping[str, str]
    _link: _Link | None = None

    def start(self) -> _Link:
        """Let it load, which takes about a second; what is asked for meanwhile waits."""
        if self._link is not None and self._link.is_up():
            return self._link
        self.stop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(FORK_TIMEOUT_S)
        with theirs, self.log.open("ab", buffering=0) as log:
            os.fchmod(log.fileno(), 0o600)
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "rivet.local.fork_server", str(theirs.fileno())],
                cwd=self.folder, env=dict(self.env), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, pass_fds=(theirs.fileno(),),
            )  # fmt: skip
        self._link = _Link(process, ours)
        return self._link

    def fork(self, request: ForkRequest) -> Forked:
        """Have it become what the request says. Raises ForkServerGone."""
        link = self.start()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            try:
                socket.send_fds(link.requests, [b"fork"], [theirs.fileno()])
                while "forked" not in (told := link.hear()):
                    continue
                theirs.close()
                ours.settimeout(FORK_TIMEOUT_S)
                ours.sendall(request.pack())
            except OSError as error:
                raise ForkServerGone(f"the fork server gave no answer ({error}); see {self.log}") from error
        pid = int(told["forked"])
        return Forked(link, pid, identity_of(pid) or Identity(pid, 0))

    def stop(self) -> None:
        """End it, and with it what it has forked."""
        if self._link is not None:
            self._link.end()
        self._link = None

    def descriptors(self) -> list[int]:
        """To be waited for: readable when a child may have ended. None where it has died."""
        return [self._link.requests.fileno()] if self._link is not None and self._link.is_up() else []

    def hear(self) -> None:
        """Take in what it has to tell, so that its descriptor is quiet again."""
        if self._link is not None:
            self._link.hear_all()
