"""Another runner beside the one of a home, as if on a machine of its own."""

import contextlib
import subprocess
from collections.abc import Iterator

import psutil

from .rivet_home import RIVET, RivetHome, wait_for


@contextlib.contextmanager
def second_runner(home: RivetHome, *queues: str, slots: int = 2) -> Iterator[subprocess.Popen[bytes]]:
    """A runner called `second`, which serves these queues until it is left."""
    names = ",".join(queues or ("default",))
    token = home.cli("runner", "token", "--queue", names, "--name", "second").stdout.strip()
    known = psutil.Process(home.pid("runner")).environ()
    env = {
        **{name: value for name, value in known.items() if not name.startswith("RIVET_RUNNER")},
        "RIVET_HOME": str(home.folder / "second"),
        "RIVET_TOKEN": token,
        "RIVET_STAGE_UIDS": "210000-210999",
    }
    with (home.folder / "second.log").open("ab") as log:
        process = subprocess.Popen(
            [*RIVET, "runner", "start", "--name", "second", "--queue", names, "--slots", str(slots)],
            env=env, cwd=home.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        wait_for(lambda: _is_online(home), 30, (home.folder / "second.log").read_text)
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, and its slots with it."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)


def _is_online(home: RivetHome) -> bool:
    told = home.client.call("GET", "/runners")["items"]
    return any(one["name"] == "second" and one["status"] == "online" for one in told)
