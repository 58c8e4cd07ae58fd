"""`rivet up --detach`: start the supervisor in the background, and return when it is ready."""

import os
import subprocess
import sys
import time

from rivet.local.home import Home
from rivet.local.logs import rotate
from rivet.local.processes import identity_of
from rivet.local.state import State, read_state
from rivet.local.supervisor import PartFailed
from rivet.local.told import UNREACHABLE, Failed, tell

READY_TIMEOUT_S = 300.0


def start_detached(home: Home, port: int | None, flower_port: int | None, slots: int | None) -> State:
    """Start it, pass on what it tells, and return its state once it is ready.

    Raises Failed with its own exit code if it ends, and PartFailed if it is not ready in time (it is then
    ended).
    """
    log = home.logs / "up.log"
    rotate(log)
    options = {"--port": port, "--flower-port": flower_port, "--slots": slots}
    given = [text for name, value in options.items() if value is not None for text in (name, str(value))]
    with log.open("ab", buffering=0) as output:
        os.fchmod(output.fileno(), 0o600)
        read_to = output.seek(0, os.SEEK_END)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "rivet", "up", *given],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    identity = identity_of(process.pid)
    deadline = time.monotonic() + READY_TIMEOUT_S
    pending = b""
    with log.open("rb") as told:
        told.seek(read_to)
        while True:
            ended = process.poll()
            pending += told.read()
            *lines, pending = pending.split(b"\n")
            for line in lines:
                if line.startswith(b"rivet: "):
                    tell(line.decode("utf-8", "replace").removeprefix("rivet: "))
            if ended is not None:
                rest = [line for line in (*lines, pending) if line and not line.startswith(b"rivet: ")]
                raise Failed(b"\n".join(rest).decode("utf-8", "replace") or _why(ended), ended or UNREACHABLE)
            state = read_state(home)
            if state is not None and state.supervisor == identity and state.phase == "ready":
                return state
            if time.monotonic() > deadline:
                process.terminate()
                raise PartFailed(f"Rivet was not ready in {READY_TIMEOUT_S:.0f} s and is stopped; see {log}")
            time.sleep(0.05)


def _why(code: int) -> str:
    return f"`rivet up` ended with exit code {code} before it was ready"
