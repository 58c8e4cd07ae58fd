"""Another runner beside the one of a home, as if on a machine of its own."""

import contextlib
import subprocess
import threading
from collections.abc import Iterator

from .rivet_home import RIVET, RivetHome, wait_for

LOOK_S = 0.3


class SecondRunner:
    """A runner called `second` that serves these queues; its token is made once, its folder stays.

    `settings` are its own, over those of the home's runner.
    """

    def __init__(self, home: RivetHome, *queues: str, slots: int = 2, **settings: str) -> None:
        self._home, self.slots = home, slots
        self._names = ",".join(queues or ("default",))
        token = home.cli("runner", "token", "--queue", self._names, "--name", "second").stdout.strip()
        known = home.told("runner")
        self._env = {
            **{name: value for name, value in known.items() if not name.startswith("RIVET_RUNNER")},
            "RIVET_HOME": str(home.folder / "second"),
            "RIVET_TOKEN": token,
            "RIVET_STAGE_UIDS": "210000-210999",
            **settings,
        }
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper of the second runner", daemon=True)
        self.start()

    def start(self) -> None:
        with (self._home.folder / "second.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *RIVET, "runner", "start", "--name", "second", "--queue", self._names,
                    "--slots", str(self.slots),
                ],
                env=self._env, cwd=self._home.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def until_online(self) -> None:
        wait_for(lambda: _is_online(self._home), 30, (self._home.folder / "second.log").read_text)

    def keep(self) -> None:
        """From now on it is started again whenever it has died."""
        self._keeper.start()

    def end(self) -> None:
        self._over.set()
        if self._keeper.is_alive():
            self._keeper.join()
        stop(self.process)

    def _keep(self) -> None:
        while not self._over.wait(LOOK_S):
            if self.process.poll() is not None:
                self.start()


@contextlib.contextmanager
def second_runner(
    home: RivetHome, *queues: str, slots: int = 2, **settings: str
) -> Iterator[subprocess.Popen[bytes]]:
    """One that serves these queues until it is left."""
    runner = SecondRunner(home, *queues, slots=slots, **settings)
    try:
        runner.until_online()
        yield runner.process
    finally:
        runner.end()


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
