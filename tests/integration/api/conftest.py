"""The API as it is served: gunicorn as a process of its own, spoken to over HTTP."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from rivet.client import Client
from rivet.domain.order import Order
from rivet.runner.artifacts import StageArtifacts
from rivet.runner.cache import StageCaches
from rivet.runner.room import Ended, Room, RoomSpec, prepare_workspace
from rivet.runner.room_command import Output
from rivet.runner.tools import ToolRoots
from rivet.sandbox.isolation.enclosure import Layout
from rivet.store.unit import PostgresStore
from rivet.wiring.schema import ensure_token

ROOT = Path(__file__).resolve().parents[3]
ADMIN = "rvt_admin_" + "a" * 43
RUNNER = "rvt_runner_" + "r" * 43
SECRET = "k" * 64

TWO_STAGES = """pipeline = {
  name = "Demo",
  inputs = { who = { type = "string", default = "you" } },
  stages = {
    { name = "build", script = function() log.info("building") end },
    { name = "test", script = function() log.info("testing") end },
  },
}
"""


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Api:
    """A served API, and how a test speaks to it."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    launch: Callable[[], subprocess.Popen[bytes]]
    token: str = ADMIN
    extra: dict[str, str] = field(default_factory=dict)

    def wait(self) -> None:
        """Until it answers."""
        deadline = time.monotonic() + 30
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"gunicorn ended with {self.process.returncode}: {self.log.read_text()}")
            with contextlib.suppress(OSError):
                if self.ask("GET", "/healthz").status == 200:
                    return
            if time.monotonic() > deadline:
                self.process.kill()
                raise TimeoutError(f"gunicorn did not answer: {self.log.read_text()}")
            time.sleep(0.02)

    def kill(self) -> None:
        """At once, with its workers."""
        for process in (self.process, *psutil.Process(self.process.pid).children()):
            process.send_signal(signal.SIGKILL)
        self.process.wait()

    def start_again(self) -> None:
        """After `kill`, with the same settings."""
        self.process = self.launch()
        self.wait()

    def ask(
        self, method: str, path: str, body: object = None, *, token: str | None = None, **headers: str
    ) -> Answer:
        """Paths begin beneath /api/v1 unless they say otherwise; `body` is bytes as they are, else JSON."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        chosen = self.token if token is None else token
        if chosen:
            sent.setdefault("Authorization", f"Bearer {chosen}")
        payload = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if payload is not None:
            sent.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            where = path if path.startswith(("/healthz", "/readyz", "/metrics", "/api/", "//")) else f"/api/v1{path}"
            connection.request(method, where, payload, sent)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def as_runner(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        return self.ask(method, path, body, token=RUNNER, **headers)

    def start(self, source: str = TWO_STAGES, slug: str = "demo", **fields: object) -> dict[str, Any]:
        """Start a run of a source; the run."""
        answer = self.ask("POST", f"/projects/default/pipelines/{slug}/runs", {"source": source, **fields})
        assert answer.status == 202, answer.body
        return answer.json

    def register(self, name: str = "") -> str:
        """A runner's session."""
        told = {
            "name": name or f"r-{uuid.uuid4().hex[:8]}", "queues": ["default"], "slots": 2,
            "isolation": "namespaces", "version": "0.1", "protocol": 1, "previous_session": None,
        }
        answer = self.as_runner("POST", "/runner/register", told)
        assert answer.status == 200, answer.body
        return answer.json["session"]

    def claim(self, run: dict[str, Any], session: str, epoch: int = 1) -> dict[str, Any]:
        """The order of the run's first job."""
        job = run["stages"][0]["job"]
        told = {"session": session, "epoch": epoch, "protocol": 1}
        answer = self.as_runner("POST", f"/runner/jobs/{job}/claim", told)
        assert answer.status == 200, answer.body
        return answer.json


Serve = Callable[..., Api]


def serve_api(
    database_url: str, redis_url: str, port: int, folder: Path, threads: int = 32, **env: str
) -> Api:
    """Start gunicorn as `rivet serve` does, and wait until it answers."""
    log = folder / f"api-{port}.log"
    command = [
        sys.executable, "-m", "gunicorn", "--worker-class", "rivet.api.worker.ProblemWorker", "--workers", "1",
        "--logger-class", "rivet.api.server_log.ServerLog",
        "--threads", str(threads), "--bind", f"127.0.0.1:{port}", "--no-control-socket",
        "--graceful-timeout", "10", f"rivet.app:create_app(threads={threads})",
    ]  # fmt: skip
    whole_env = {
        "PATH": os.environ["PATH"],
        "RIVET_DATABASE_URL": database_url,
        "RIVET_BROKER_URL": redis_url,
        "RIVET_SECRET_KEY": SECRET,
        "RIVET_LEASE_SECONDS": "4",
        "RIVET_PORT": str(port),
        "RIVET_HOME": str(folder),
        **env,
    }

    def launch() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command, cwd=ROOT, env=whole_env, stdin=subprocess.DEVNULL, stdout=log.open("ab"),
            stderr=subprocess.STDOUT,
        )  # fmt: skip

    api = Api(port, launch(), log, launch)
    api.wait()
    return api


def stop_api(api: Api) -> int:
    """Ask it to end; its exit code."""
    if api.process.poll() is None:
        api.process.send_signal(signal.SIGTERM)
    try:
        return api.process.wait(20)
    finally:
        api.process.kill()


@pytest.fixture(scope="module")
def api(
    database_url: str, redis_url: str, free_port: Callable[[], int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    """An API with an admin's token and a runner's for the queue `default`."""
    ensure_token(database_url, kind="admin", name="alice", token=ADMIN)
    ensure_token(database_url, kind="runner", name="r", token=RUNNER, queues=["default"])
    served = serve_api(database_url, redis_url, free_port(), tmp_path_factory.mktemp("api"))
    yield served
    stop_api(served)


@pytest.fixture
def serve(
    free_port: Callable[[], int], tmp_path: Path
) -> Iterator[Serve]:
    """Serve further APIs, with other databases or settings, for one test."""
    served: list[Api] = []

    def one(database_url: str, redis_url: str, **env: Any) -> Api:
        served.append(serve_api(database_url, redis_url, free_port(), tmp_path, **env))
        return served[-1]

    yield one
    for each in served:
        stop_api(each)


@dataclass
class Stage:
    """A stage at work: a real room, and the API with its job's ticket. `said` is its log."""

    room: Room
    order: Order
    client: Client
    said: list[str] = field(default_factory=list)
    stopped: str | None = None

    def say(self, _level: str, text: str) -> None:
        self.said.append(text)

    def go_on(self) -> None:
        if self.stopped:
            raise InterruptedError(self.stopped)

    def run_program(self, argv: Sequence[str], *, on_output: Output, stdin: int | None = None) -> Ended:
        ended = self.room.run(
            argv, env={}, stdin=stdin, on_output=on_output, stop=lambda: self.stopped, timeout_s=60
        )
        self.go_on()
        return ended

    def shell(self, line: str) -> str:
        """What a line of shell in the room wrote."""
        wrote = bytearray()
        ended = self.room.run(
            ["/bin/sh", "-ec", line], env={}, on_output=lambda _, data: wrote.extend(data), timeout_s=30
        )
        assert ended.exit_code == 0, wrote.decode()
        return wrote.decode()

    @property
    def artifacts(self) -> StageArtifacts:
        return StageArtifacts(
            self.order, self.order.stages[0].key, 1, self.client, self, self.go_on
        )

    @property
    def caches(self) -> StageCaches:
        return StageCaches(self.order, self.client, self, self.go_on)

    @property
    def layout(self) -> Layout:
        return self.room.layout

    def another(self, order: Order) -> "Stage":
        """The same room at work on another job."""
        return Stage(self.room, order, self.client)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    uid = 299_100 if os.geteuid() == 0 else None
    for place in ("workspace", "home"):
        prepare_workspace(tmp_path / place, uid)
    spec = RoomSpec(tmp_path / "workspace", tmp_path / "home", uid, ToolRoots(), ping_s=20.0)
    with Room(spec) as opened:
        yield opened


@pytest.fixture
def claimed(api: Api) -> Callable[..., Order]:
    """The order of a new run's job, held by a runner."""
    return lambda **start: Order.read(api.claim(api.start(**start), api.register()))


@pytest.fixture
def stage(api: Api, room: Room, claimed: Callable[..., Order]) -> Iterator[Stage]:
    client = Client(f"http://127.0.0.1:{api.port}")
    yield Stage(room, claimed(), client)
    client.close()


@pytest.fixture(scope="module")
def store(database_url: str) -> Iterator[PostgresStore]:
    """The API's database from beside it: what control would write."""
    opened = PostgresStore(database_url)
    yield opened
    opened.close()
