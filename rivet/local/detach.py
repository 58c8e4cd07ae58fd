"""`rivet up` in a process of its own: start it, pass on what it tells, and return when it is ready."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from rivet.local.home import Home
from rivet.local.logs import rotate
from rivet.local.processes import Identity, die_with_parent, identity_of
from rivet.local.state import State, read_state
from rivet.local.supervisor import PartFailed
from rivet.local.told import UNREACHABLE, Failed, tell

READY_TIMEOUT_S = 300.0


def start_detached(
    home: Home,
    port: int | None,
    flower_port: int | None,
    slots: int | None,
    *,
    folder: Path | None = None,
    env: Mapping[str, str] | None = None,
    with_us: bool = False,
) -> State:
    """Start it in `folder` with `env` (ours where absent), and return its state once it is ready.

    It outlives us, unless `with_us` says that it ends when we do. Raises Failed with its own exit code if it
    ends, and PartFailed if it is not ready in time (it is then ended).
    """
    log = home.logs / "up.log"
    rotate(log)
    options = {"--port": port, "--flower-port": flower_port, "--slots": slots}
    given = [text for name, value in options.items() if value is not None for text in (name, str(value))]
    with log.open("ab", buffering=0) as output:
        os.fchmod(output.fileno(), 0o600)
        begins = output.seek(0, os.SEEK_END)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "rivet", "up", *given],
            cwd=folder,
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_dying_with(os.getpid()) if with_us else None,
        )
    try:
        return _wait(home, process, log, begins)
    except BaseException:
        process.terminate()
        raise


def _dying_with(parent: int) -> Callable[[], None]:
    return lambda: die_with_parent(signal.SIGTERM, parent)


def _wait(home: Home, process: "subprocess.Popen[bytes]", log: Path, begins: int) -> State:
    identity = identity_of(process.pid)
    deadline = time.monotonic() + READY_TIMEOUT_S
    pending = b""
    with log.open("rb") as told:
        told.seek(begins)
        while True:
            ended = process.poll()
            *lines, pending = (pending + told.read()).split(b"\n")
            for line in lines:
                if line.startswith(b"rivet: "):
                    tell(line.decode("utf-8", "replace").removeprefix("rivet: "))
            if ended is not None:
                raise Failed(_why(ended, log, begins), ended or UNREACHABLE)
            if (state := _ready(home, identity)) is not None:
                return state
            if time.monotonic() > deadline:
                raise PartFailed(f"Rivet was not ready in {READY_TIMEOUT_S:.0f} s and is stopped; see {log}")
            time.sleep(0.05)


def _ready(home: Home, identity: Identity | None) -> State | None:
    state = read_state(home)
    return state if state is not None and state.supervisor == identity and state.phase == "ready" else None


def _why(code: int, log: Path, begins: int) -> str:
    """What it said last, beside the progress that has been passed on."""
    with log.open("rb") as told:
        told.seek(begins)
        lines = told.read().decode("utf-8", "replace").splitlines()
    rest = "\n".join(line for line in lines if not line.startswith("rivet: ")).removeprefix("Error: ").strip()
    return rest or f"`rivet up` ended with exit code {code} before it was ready"
