"""The database of this machine's system, for commands that work on it directly: it need not be up."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rivet.local.environment import plain_environment
from rivet.local.home import Home, HomeUnusable, leave_socket_folder
from rivet.local.part import Running, start
from rivet.local.postgresql import database_url, postgresql
from rivet.local.state import running_state, take_lock
from rivet.local.supervisor import PartFailed
from rivet.wiring.settings import Settings

READY_S = 60.0


@contextmanager
def reachable_database(settings: Settings, home: Home) -> Iterator[str]:
    """Its address: as RIVET_DATABASE_URL says, that of the running system, or of one started for the time.

    Raises HomeUnusable while the system starts or stops, PartFailed.
    """
    if settings.database_url:
        yield settings.database_url
        return
    state = running_state(home)
    if state is not None and state.phase == "ready":
        yield database_url(home, home.socket_folder())
        return
    home.prepare()
    lock = take_lock(home)
    if lock is None:
        raise HomeUnusable(f"a `rivet up` of {home.path} is just starting or stopping; try again when it has")
    try:
        with _server(settings, home):
            yield database_url(home, home.socket_folder())
    finally:
        os.close(lock)


@contextmanager
def _server(settings: Settings, home: Home) -> Iterator[None]:
    part = postgresql(home, home.socket_folder(), plain_environment(settings, home))
    running = start(part)
    try:
        deadline = time.monotonic() + READY_S
        while not part.ready():
            if running.has_ended() or time.monotonic() > deadline:
                raise PartFailed(f"PostgreSQL {running.how_it_ended()} and is not ready; see {part.log}")
            time.sleep(0.05)
        yield
    finally:
        _stop(running)
        leave_socket_folder(home)


def _stop(running: Running) -> None:
    running.ask_to_stop()
    try:
        running.process.wait(running.part.patience_s)
    except subprocess.TimeoutExpired:
        running.kill()
        running.process.wait()
    running.sweep()
