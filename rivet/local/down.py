"""`rivet down`: end what `rivet up` started."""

import signal
import time

import click

from rivet.local.home import Home
from rivet.local.processes import Identity
from rivet.local.state import forget_state, is_locked, read_state
from rivet.local.told import UNREACHABLE, Failed, failures_told, tell
from rivet.local.warden import end_parts
from rivet.wiring.settings import Settings

PATIENCE_S = 90.0
WARDEN_PATIENCE_S = 15.0


@click.command()
def down() -> None:
    """Stop what `rivet up` started on this machine; the runner first ends what it can in 20 seconds.

    Runs and their logs are kept; `rivet up` goes on with what was queued.

    Example: rivet down
    """
    home = Home(Settings().home.expanduser().absolute())
    with failures_told():
        if stop(home):
            click.echo("Rivet is stopped.")
        else:
            click.echo("Rivet does not run.")


def stop(home: Home) -> bool:
    """End it and wait for its end; False if there was nothing to end. Raises Failed if it does not end."""
    state = read_state(home)
    was_up = state is not None and state.supervisor.is_alive()
    if state is not None and was_up:
        state.supervisor.send(signal.SIGTERM)
        _wait(state.supervisor)
    deadline = time.monotonic() + WARDEN_PATIENCE_S
    while home.path.exists() and is_locked(home):
        if time.monotonic() > deadline:
            raise Failed(f"something still holds {home.path}; see `rivet status`", UNREACHABLE)
        time.sleep(0.05)
    left = end_parts(home)
    forget_state(home)
    return was_up or left > 0


def _wait(supervisor: Identity) -> None:
    begun = time.monotonic()
    said = 0.0
    while not supervisor.wait(1.0):
        waited = time.monotonic() - begun
        if waited > PATIENCE_S:
            tell(f"it has not ended after {waited:.0f} s and is killed")
            supervisor.send(signal.SIGKILL)
            supervisor.wait(5.0)
        elif waited > said + 5.0:
            said = waited
            tell(f"waiting for its parts to end ({waited:.0f} s)")
