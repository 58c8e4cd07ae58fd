"""750 watchers of one run at 5 lines a second, on two API processes of 512 threads: `python -m benchmarks.watchers`.

Told are how many of them saw every line and the end, in order, how late the lines were, and what other requests
took meanwhile; beside it what those took before, without a watcher.
"""

import json
import multiprocessing
import re
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from rivet.client import Client
from tests.system.rivet_home import RIVET, RivetHome, wait_for

WATCHERS = 750
LINES, LINES_A_SECOND = 150, 5
PROCESSES, THREADS = 2, 512
SAMPLE_EVERY_S = 0.1
COME_EVERY_S = 0.02
MOST_S = 150.0
PIPELINE = f"""
pipeline = {{ name = "Watched", stages = {{ {{ name = "s", script = function()
  time.sleep(25)
  for number = 1, {LINES} do
    log.info("line " .. number .. " at " .. time.now())
    time.sleep({1 / LINES_A_SECOND})
  end
end }} }} }}
"""
_LINE = re.compile(rb'"text":"line (\d+)')


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="rvb"))
    folder.chmod(0o755)
    home = RivetHome(folder)
    server: subprocess.Popen[bytes] | None = None
    try:
        home.up()
        port, server = serve(home, folder)
        told = measure(home, port)
    finally:
        if server is not None:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
        home.down()
        shutil.rmtree(folder, ignore_errors=True)
    json.dump(told, sys.stdout, indent=2)
    sys.stdout.write("\n")


def serve(home: RivetHome, folder: Path) -> tuple[int, "subprocess.Popen[bytes]"]:
    """Two API processes more, over the same database and broker, as production has them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    env = home.told("api") | {"RIVET_PORT": str(port), "RIVET_URL": ""}
    command = [*RIVET, "serve", "--port", str(port), "--workers", str(PROCESSES), "--threads", str(THREADS)]
    with (folder / "serve.log").open("wb") as log:
        server = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    wait_for(lambda: answers(port), 30, lambda: (folder / "serve.log").read_text()[-2000:])
    return port, server


def answers(port: int) -> bool:
    try:
        return Client(f"http://127.0.0.1:{port}").request("GET", "/healthz")[0] == 200
    except Exception:  # not yet
        return False


def measure(home: RivetHome, port: int) -> dict[str, object]:
    quiet = sampled(home, port, lambda: time.sleep(5))
    run = home.submit("watched", PIPELINE)
    crowd = Crowd(port, home.token(), run)
    try:
        busy = sampled(home, port, crowd.watch)
    finally:
        crowd.close()
    lags = sorted(crowd.lags)
    return {
        "watchers": WATCHERS,
        "complete": sum(watcher.is_complete for watcher in crowd.watchers),
        "refused_at_first": crowd.refused,
        "lag_ms": {"median": part(lags, 0.5), "p95": part(lags, 0.95), "most": part(lags, 1.0)},
        "api_ms": {"median": part(busy, 0.5), "p95": part(busy, 0.95), "most": part(busy, 1.0)},
        "api_ms_without_watchers": {"median": part(quiet, 0.5), "p95": part(quiet, 0.95)},
    }


def part(times_s: list[float], share: float) -> float:
    """The time in milliseconds that this share of them did not take longer than."""
    return round(times_s[min(len(times_s) - 1, int(share * len(times_s)))] * 1000, 1) if times_s else -1.0


def sampled(home: RivetHome, port: int, work: Callable[[], None]) -> list[float]:
    """What requests take, one every 100 ms out of a process of their own, while `work` is done."""
    ours, theirs = multiprocessing.Pipe()
    sampler = multiprocessing.Process(target=sample, args=(port, home.token(), theirs), daemon=True)
    sampler.start()
    try:
        work()
    finally:
        ours.send("stop")
    times: list[float] = ours.recv() if ours.poll(30) else []
    sampler.join(10)
    return sorted(times)


def sample(port: int, token: str, told: Connection) -> None:
    client, times = Client(f"http://127.0.0.1:{port}", token), list[float]()
    paths = ("/runs?limit=20", "/projects/default/pipelines", "/runners")
    while not told.poll(SAMPLE_EVERY_S):
        began = time.perf_counter()
        client.call("GET", paths[len(times) % len(paths)])
        times.append(time.perf_counter() - began)
    told.send(times)


@dataclass
class Watcher:
    """One stream: what of it has come."""

    sock: socket.socket | None = None
    again_at: float = 0.0
    rest: bytes = b""
    is_answered: bool = False
    lines: list[int] = field(default_factory=list)
    ended: bool = False

    @property
    def is_complete(self) -> bool:
        return self.ended and self.lines == list(range(1, LINES + 1))


class Crowd:
    """All watchers, in one thread. Who is refused comes again, as Retry-After says."""

    def __init__(self, port: int, token: str, run: str) -> None:
        self._address = ("127.0.0.1", port)
        self._request = (
            f"GET /api/v1/runs/{run}/events HTTP/1.0\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n"
        ).encode()
        self._selector = selectors.DefaultSelector()
        self._first_seen: dict[int, float] = {}
        self.watchers = [Watcher() for _ in range(WATCHERS)]
        self._next_at = 0.0
        self.lags: list[float] = []
        self.refused = 0

    def watch(self) -> None:
        until = time.monotonic() + MOST_S
        while any(not watcher.ended for watcher in self.watchers) and time.monotonic() < until:
            self._open()
            for key, _ in self._selector.select(0.01):
                self._read(key.data)

    def close(self) -> None:
        for watcher in self.watchers:
            if watcher.sock is not None:
                watcher.sock.close()
        self._selector.close()

    def _open(self) -> None:
        """Fifty a second: they come within fifteen, not in one instant."""
        now = time.monotonic()
        if now < self._next_at:
            return
        self._next_at = now + COME_EVERY_S
        waiting = [each for each in self.watchers if each.sock is None and not each.ended]
        for watcher in [each for each in waiting if each.again_at <= now][:1]:
            watcher.sock = socket.create_connection(self._address, timeout=10)
            watcher.sock.sendall(self._request)
            watcher.sock.setblocking(False)
            watcher.is_answered, watcher.rest = False, b""
            self._selector.register(watcher.sock, selectors.EVENT_READ, watcher)

    def _read(self, watcher: Watcher) -> None:
        assert watcher.sock is not None
        try:
            data = watcher.sock.recv(256 * 1024)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        watcher.rest += data
        if not watcher.is_answered and b"\r\n\r\n" in watcher.rest:
            head, _, watcher.rest = watcher.rest.partition(b"\r\n\r\n")
            watcher.is_answered = True
            if b" 200 " not in head.splitlines()[0]:
                after = re.search(rb"Retry-After: (\d+)", head)
                watcher.again_at = time.monotonic() + float(after.group(1) if after else 1)
                self.refused += 1
                data = b""
        while watcher.is_answered and b"\n\n" in watcher.rest:
            event, _, watcher.rest = watcher.rest.partition(b"\n\n")
            self._hear(watcher, event)
        if not data:
            self._selector.unregister(watcher.sock)
            watcher.sock.close()
            watcher.sock = None

    def _hear(self, watcher: Watcher, event: bytes) -> None:
        """Each line as it comes; how long after the first watcher had it."""
        now = time.monotonic()
        if b"event: end" in event:
            watcher.ended = True
        for number in map(int, _LINE.findall(event)):
            watcher.lines.append(number)
            self.lags.append(now - self._first_seen.setdefault(number, now))


if __name__ == "__main__":
    main()
