"""state.json: what `rivet up` runs, for `status`, `down` and the command line; and the lock of a home."""

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rivet.local.home import Home, HomeUnusable, write_private
from rivet.local.processes import Identity


@dataclass(frozen=True, slots=True)
class State:
    """What was last written. `phase` is `starting`, `ready` or `stopping`."""

    supervisor: Identity
    phase: str
    url: str
    flower_url: str
    token_file: str
    parts: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()

    def part_identities(self) -> list[tuple[str, Identity]]:
        """The processes of the parts that were running."""
        return [
            (str(part["name"]), Identity(int(part["pid"]), int(part["started"])))
            for part in self.parts
            if part.get("pid") and part.get("started")
        ]


def write_state(home: Home, state: State) -> None:
    """Write the state whole, readable by its owner alone."""
    document = {
        "pid": state.supervisor.pid,
        "started": state.supervisor.started,
        "state": state.phase,
        "url": state.url,
        "flower_url": state.flower_url,
        "token_file": state.token_file,
        "parts": [dict(part) for part in state.parts],
        "notes": list(state.notes),
    }
    write_private(home.state_file, json.dumps(document, indent=2) + "\n")


def read_state(home: Home) -> State | None:
    """What the last `rivet up` wrote; None if there is nothing, or nothing that can be read."""
    try:
        document = json.loads(home.state_file.read_text())
        return State(
            Identity(int(document["pid"]), int(document["started"])),
            str(document["state"]),
            str(document["url"]),
            str(document["flower_url"]),
            str(document["token_file"]),
            tuple(document["parts"]),
            tuple(document.get("notes", ())),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def forget_state(home: Home) -> None:
    home.state_file.unlink(missing_ok=True)


def running_state(home: Home) -> State | None:
    """The state of a system that is up (or on its way up or down), None if none is."""
    state = read_state(home)
    return state if state is not None and state.supervisor.is_alive() else None


def take_lock(home: Home) -> int | None:
    """The open lock of this home, None if another holds it. It is held until its descriptor is closed."""
    try:
        handle = os.open(home.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HomeUnusable(f"{home.lock_file} cannot be opened: {error.strerror}.") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def is_locked(home: Home) -> bool:
    """Whether a `rivet up` holds this home, or what ends its parts after its death."""
    if not Path(home.lock_file).exists():
        return False
    handle = take_lock(home)
    if handle is None:
        return True
    os.close(handle)
    return False
