"""`rivet up`: the whole system on this machine."""

import os
import time

import click

from rivet.local.bring_up import bring_up, folder_to_allow
from rivet.local.detach import READY_TIMEOUT_S, start_detached
from rivet.local.half_restored import refuse_half_restored
from rivet.local.home import Home, HomeUnusable
from rivet.local.state import State, read_state, running_state, take_lock
from rivet.local.told import UNREACHABLE, Failed, failures_told, tell
from rivet.wiring.settings import Settings

LAST_ONE_ENDS_S = 20.0
PORT = click.IntRange(0, 65535)


@click.command()
@click.option("--detach", "-d", is_flag=True, help="Return when ready; it keeps running until `rivet down`.")
@click.option("--port", type=PORT, help="Of the API: had or refused; 0: any. Default: 8080 or the next free.")
@click.option("--flower-port", type=PORT, help="Of Flower, likewise. Default: 5555 or the next free one.")
@click.option("--slots", type=click.IntRange(1, 256), help="How many jobs the runner works on at once.")
def up(detach: bool, port: int | None, flower_port: int | None, slots: int | None) -> None:
    """Start the whole system on this machine: PostgreSQL, Redis, API, control, one runner and Flower.

    Nothing has to be configured. Everything it keeps is in RIVET_HOME. With RIVET_DATABASE_URL and
    RIVET_BROKER_URL set, those are used and nothing embedded starts.

    Example: rivet up --detach
    """
    settings = Settings()
    if slots is not None:
        settings = settings.model_copy(update={"slots": slots})
    if port is None and "port" in settings.model_fields_set:
        port = settings.port
    home = Home(settings.home.expanduser().absolute())
    with failures_told():
        home.prepare()
        refuse_half_restored(home)
        lock = _lock(home)
        if lock is None:
            _already_running(home, port, wait=detach)
            return
        if detach:
            os.close(lock)
            click.echo(summary(start_detached(home, port, flower_port, slots), home, detached=True))
            return
        bring_up(
            settings,
            home,
            port=port,
            flower_port=flower_port,
            allow=folder_to_allow(),
            tell=tell,
            when_ready=lambda state: click.echo(summary(state, home, detached=False)),
        )


def summary(state: State, home: Home, *, detached: bool) -> str:
    """Every address, once everything is ready."""
    rows = [
        ("API", state.url),
        ("Flower", f"{state.flower_url}   user rivet, password in {home.flower_password}"),
        ("Token", f"{state.token_file}   found by the rivet command without asking"),
        ("Logs", str(home.logs)),
        ("Home", str(home.path)),
    ]
    lines = ["Rivet is up.", *(f"  {name:<8}{value}" for name, value in rows), *state.notes]
    lines.append("Stop it with `rivet down`." if detached else "Stop it with Ctrl-C, or with `rivet down`.")
    return "\n".join(lines)


def _lock(home: Home) -> int | None:
    """The home's lock; if the last `rivet up` was killed and its parts are still being ended, after that."""
    deadline = time.monotonic() + LAST_ONE_ENDS_S
    said = False
    while (lock := take_lock(home)) is None:
        state = read_state(home)
        if state is not None and state.supervisor.is_alive() and state.phase != "stopping":
            return None
        if time.monotonic() > deadline:
            raise HomeUnusable(f"another `rivet up` holds {home.path} and is not ready; see {home.logs}")
        if not said and time.monotonic() > deadline - LAST_ONE_ENDS_S + 1:
            said = True
            tell("waiting for the last `rivet up` to end")
        time.sleep(0.05)
    return lock


def _already_running(home: Home, port: int | None, *, wait: bool) -> None:
    """Say so, with `wait` not before that one is ready."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while (state := running_state(home)) is not None and state.phase == "starting" and wait:
        if time.monotonic() > deadline:
            raise HomeUnusable(f"another `rivet up` holds {home.path} and is not ready; see {home.logs}")
        time.sleep(0.1)
    if state is None:
        raise HomeUnusable(f"another `rivet up` holds {home.path}; see `rivet status`")
    if port and not state.url.endswith(f":{port}"):
        raise Failed(
            f"Rivet is already running, at {state.url}; to have it on port {port}, `rivet down` first.",
            UNREACHABLE,
        )
    click.echo(f"Rivet is already running (process {state.supervisor.pid}).")
    click.echo(summary(state, home, detached=True).partition("\n")[2])
