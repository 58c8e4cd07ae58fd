"""The one process that starts the parts, starts again what died, and ends them all in order."""

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from rivet.local.forked import ForkServer
from rivet.local.home import Home
from rivet.local.logs import last_lines, rotate
from rivet.local.part import Part, Running, start
from rivet.local.processes import Identity, identity_of
from rivet.local.state import State, forget_state, write_state

MAX_RESTARTS = 5
RESTART_WINDOW_S = 60.0
LOOK_EVERY_S = 1.0
LOOK_OFTEN_S = 0.05
ROTATE_EVERY_S = 10.0


class PartFailed(Exception):
    """A part did not come up. The message has the last lines of its log."""


class Asked(Exception):
    """We were asked to stop while starting."""


@dataclass
class _Watched:
    """A part over time: its present process, and when it had to be started again."""

    part: Part
    running: Running | None
    state: str = "starting"
    restarts: list[float] = field(default_factory=list)
    again_at: float | None = None


def _is_settled(watched: _Watched) -> bool:
    return watched.state in ("running", "failed")


class Supervisor:
    """Holds the parts in the order in which they were started. For one thread, the main one."""

    def __init__(
        self,
        home: Home,
        *,
        tell: Callable[[str], None],
        url: str = "",
        flower_url: str = "",
        server: ForkServer | None = None,
    ) -> None:
        """`tell` is given one line for people at a time; of `server` comes what is to be forked."""
        self._home, self._tell, self._server = home, tell, server
        self._url, self._flower_url = url, flower_url
        self._parts: dict[str, _Watched] = {}
        self._phase = "starting"
        self._notes: tuple[str, ...] = ()
        self._asked = 0
        self._signal_in, self._signal_out = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def listen_to_signals(self) -> None:
        """Stop at Ctrl-C, SIGTERM and SIGHUP; notice at once when a part ends."""
        signal.set_wakeup_fd(self._signal_out, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    @property
    def identity(self) -> Identity:
        return identity_of(os.getpid()) or Identity(os.getpid(), 0)

    def start(self, part: Part) -> None:
        """Start a part without waiting for it. Raises PartFailed if its program cannot be executed."""
        watched = _Watched(part, None)
        self._parts[part.name] = watched
        try:
            watched.running = start(part, self._server)
        except (OSError, subprocess.SubprocessError) as error:
            raise PartFailed(f"{part.name} cannot be started: {error}") from error
        self._write()

    def wait_until_ready(self, names: Iterable[str], timeout_s: float) -> None:
        """Wait until each does its work. Raises PartFailed if one ends or time is over; Asked."""
        begun = time.monotonic()
        waiting = list(names)
        said_at = begun
        while waiting:
            self._stop_if_asked()
            for name in list(waiting):
                watched = self._parts[name]
                if watched.part.ready():
                    watched.state = "running"
                    waiting.remove(name)
                    self._tell(f"{name} is ready ({time.monotonic() - begun:.1f} s)")
                elif watched.running is None or watched.running.has_ended():
                    raise PartFailed(self._what_happened(watched))
            if waiting and time.monotonic() - begun > timeout_s:
                watched = self._parts[waiting[0]]
                raise PartFailed(f"{waiting[0]} was not ready in {timeout_s:.0f} s{self._log_of(watched)}")
            if waiting and time.monotonic() - said_at > 5.0:
                said_at = time.monotonic()
                self._tell(f"still waiting for {', '.join(waiting)}")
            if waiting:
                self._sleep(LOOK_OFTEN_S)
        self._write()

    def run_once(self, part: Part, timeout_s: float) -> None:
        """Run something to its end. Raises PartFailed if it fails or takes over `timeout_s` seconds."""
        since = part.log.stat().st_size if part.log.exists() else 0
        running = start(part)
        deadline = time.monotonic() + timeout_s
        try:
            while not running.has_ended():
                self._stop_if_asked()
                if time.monotonic() > deadline:
                    raise PartFailed(f"{part.name} did not end in {timeout_s:.0f} s{self._tail(part, since)}")
                self._sleep(LOOK_OFTEN_S)
        finally:
            running.kill()
            running.process.wait()
        if running.process.returncode != 0:
            raise PartFailed(f"{part.name} {running.how_it_ended()}{self._tail(part, since)}")

    def ready(self, notes: Iterable[str] = ()) -> State:
        """Say in the state that everything is up."""
        self._phase, self._notes = "ready", tuple(notes)
        return self._write()

    def watch(self) -> None:
        """Start again what dies, until we are asked to stop."""
        rotated_at = time.monotonic()
        while not self._asked:
            self._sleep(LOOK_EVERY_S if all(map(_is_settled, self._parts.values())) else LOOK_OFTEN_S)
            for watched in self._parts.values():
                self._look_after(watched)
            if time.monotonic() - rotated_at > ROTATE_EVERY_S:
                rotated_at = time.monotonic()
                for log in self._home.logs.glob("*.log"):
                    rotate(log)

    def stop(self) -> None:
        """End the parts, wave by wave, each part within its patience; a second signal hurries."""
        self._phase = "stopping"
        self._write()
        hurried = max(self._asked, 1)
        for wave in sorted({watched.part.ends_in_wave for watched in self._parts.values()}):
            ending = [
                watched
                for watched in self._parts.values()
                if watched.part.ends_in_wave == wave and watched.running and watched.state != "failed"
            ]
            for watched in ending:
                watched.state = "stopping"
                if watched.running:
                    watched.running.ask_to_stop()
            self._wait_for_end(ending, hurried)
            self._write()
        forget_state(self._home)

    def _wait_for_end(self, ending: list[_Watched], hurried: int) -> None:
        """Until all have ended; those that take too long, or all if we are hurried, are killed."""
        begun, said = time.monotonic(), False
        while ending:
            waited = time.monotonic() - begun
            for watched in list(ending):
                name, running = watched.part.name, watched.running
                if running is not None and not running.has_ended():
                    if waited <= watched.part.patience_s and self._asked <= hurried:
                        continue
                    self._tell(f"{name} has not ended after {waited:.0f} s and is killed")
                    running.kill()
                    running.process.wait()
                if running is not None:
                    running.sweep()
                watched.state = "stopped"
                ending.remove(watched)
            if ending and waited > 3.0 and not said:
                said = True
                names = ", ".join(watched.part.name for watched in ending)
                self._tell(f"waiting for {names} to end; Ctrl-C again to hurry")
            if ending:
                self._sleep(LOOK_OFTEN_S)

    def _look_after(self, watched: _Watched) -> None:
        now = time.monotonic()
        running, part = watched.running, watched.part
        if watched.again_at is not None and now >= watched.again_at:
            watched.again_at = None
            try:
                watched.running = start(part, self._server)
                watched.state = "starting"
            except (OSError, subprocess.SubprocessError) as error:
                self._tell(f"{part.name} cannot be started again: {error}")
                watched.state = "failed"
            self._write()
        elif watched.state == "starting" and running is not None and part.ready():
            watched.state = "running"
            self._tell(f"{part.name} is ready again")
            self._write()
        elif watched.state in ("starting", "running") and running is not None and running.has_ended():
            running.sweep()
            watched.restarts = [at for at in watched.restarts if now - at < RESTART_WINDOW_S]
            if len(watched.restarts) >= MAX_RESTARTS:
                watched.state = "failed"
                self._tell(
                    f"{part.name} {running.how_it_ended()}, after {MAX_RESTARTS} restarts in "
                    f"{RESTART_WINDOW_S:.0f} s: it is left down. Mend its cause, then stop and start Rivet"
                    f"{self._log_of(watched)}"
                )
            else:
                watched.restarts.append(now)
                watched.state = "restarting"
                watched.again_at = now + 0.25 * len(watched.restarts) ** 2
                self._tell(f"{part.name} {running.how_it_ended()}; it is started again")
            self._write()

    def _on_stop(self, *_: object) -> None:
        self._asked += 1

    def _stop_if_asked(self) -> None:
        if self._asked:
            raise Asked

    def _sleep(self, seconds: float) -> None:
        """Sleep, but wake up at a signal or when a part ends."""
        told_by = [] if self._server is None else self._server.descriptors()
        readable, _, _ = select.select([self._signal_in, *told_by], [], [], seconds)
        if self._server is not None:
            self._server.hear()
        if self._signal_in in readable:
            try:
                os.read(self._signal_in, 4096)
            except BlockingIOError:
                pass

    def _what_happened(self, watched: _Watched) -> str:
        how = watched.running.how_it_ended() if watched.running else "was not started"
        return f"{watched.part.name} {how} before it was ready{self._log_of(watched)}"

    def _log_of(self, watched: _Watched) -> str:
        return self._tail(watched.part, 0)

    def _tail(self, part: Part, since: int) -> str:
        lines = "".join(f"\n    {line}" for line in last_lines(part.log, 12, since))
        return f". The last lines of {part.log}:{lines or ' (it is empty)'}"

    def _write(self) -> State:
        parts = tuple(
            {
                "name": watched.part.name,
                "state": watched.state,
                "pid": watched.running.identity.pid if watched.running else None,
                "started": watched.running.identity.started if watched.running else None,
                "restarts": len(watched.restarts),
                "log": str(watched.part.log),
            }
            for watched in self._parts.values()
        )
        token_file = str(self._home.admin_token)
        state = State(self.identity, self._phase, self._url, self._flower_url, token_file, parts, self._notes)
        write_state(self._home, state)
        return state
