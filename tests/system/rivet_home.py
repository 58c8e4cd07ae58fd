"""A whole Rivet in a home of its own, as `rivet up` makes it, and words to say to it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg2

from rivet.client import Client, Event

from .told import environment_of

RIVET = (sys.executable, "-m", "rivet")


@dataclass
class RivetHome:
    """`folder` is short, for sockets stand beneath it; `allow` is what stages may clone from."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    slots: int = 2
    _database_url: str = ""

    def env(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RIVET_")}
        tools = str(Path(sys.executable).parent)
        return {
            **kept,
            "PATH": f"{tools}:{kept.get('PATH', os.defpath)}",
            "RIVET_HOME": str(self.folder / "home"),
            **self.environment,
        }

    def up(self) -> None:
        done = self.cli("up", "--detach", "--port", "0", "--flower-port", "0", "--slots", str(self.slots))
        assert done.returncode == 0, done.stderr + done.stdout
        self.client = Client(self.status()["url"], self.token(), timeout_s=30)

    def down(self) -> None:
        self.cli("down")

    def cli(self, *arguments: str, timeout_s: float = 100) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*RIVET, *arguments], env=self.env(), cwd=self.folder, capture_output=True, text=True,
            timeout=timeout_s, stdin=subprocess.DEVNULL, check=False,
        )

    def start_cli(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*RIVET, *arguments], env=self.env(), cwd=self.folder, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
        )

    def status(self) -> dict[str, Any]:
        return json.loads(self.cli("status", "--json").stdout)

    def token(self) -> str:
        return Path(self.status()["token_file"]).read_text().strip()

    def pid(self, part: str) -> int:
        parts = self.status()["parts"]
        found = parts[part] if isinstance(parts, dict) else next(p for p in parts if p["name"] == part)
        return int(found["pid"])

    def told(self, part: str) -> dict[str, str]:
        """The environment of `api`, `control` or `runner`."""
        return environment_of(part, self.env(), self.slots)

    def log_of(self, part: str) -> str:
        return (self.folder / "home" / "logs" / f"{part}.log").read_text()

    # Pipelines and runs.

    def file(self, name: str, lua: str) -> str:
        path = self.folder / f"{name}.lua"
        path.write_text(lua)
        return str(path)

    def submit(self, slug: str, lua: str, **inputs: Any) -> str:
        """Start a run of the source over HTTP; its id."""
        body = {"inputs": inputs, "source": lua}
        return str(self.client.call("POST", f"/projects/default/pipelines/{slug}/runs", body)["id"])

    def submit_at_once(self, slug: str, lua: str, count: int) -> list[str]:
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda _: self.submit(slug, lua), range(count)))

    def run(self, run_id: str) -> dict[str, Any]:
        return dict(self.client.call("GET", f"/runs/{run_id}"))

    def events(self, run_id: str) -> Iterator[Event]:
        return self.client.events(run_id)

    def finish(self, run_id: str, within_s: float = 60) -> dict[str, Any]:
        """The run when it has ended."""
        return self.when(run_id, lambda run: run["ended_at"] is not None, within_s)

    def when(
        self, run_id: str, told: Callable[[dict[str, Any]], bool], within_s: float = 30
    ) -> dict[str, Any]:
        run: dict[str, Any] = {}

        def so() -> bool:
            nonlocal run
            try:
                run = self.run(run_id)
            except Exception:  # the API may be what was killed
                return False
            return told(run)

        wait_for(so, within_s, lambda: f"run {json.dumps(run)}")
        return run

    def lines(self, run_id: str, stage: str | None = None) -> list[str]:
        """The log's texts in order, as the API tells them line by line."""
        query = "?format=ndjson" + (f"&stage={stage}" if stage else "")
        return [
            json.loads(line)["text"] for line in self.client.lines(f"/runs/{run_id}/logs{query}") if line.strip()
        ]

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of the database itself."""
        url = self.database_url()
        with psycopg2.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall()

    def database_url(self) -> str:
        if not self._database_url:
            found = self.told("control")["RIVET_DATABASE_URL"]
            self._database_url = found.replace("postgresql+psycopg2://", "postgresql://")
        return self._database_url

    def slots_of(self, runner_pid: int) -> list[psutil.Process]:
        """The runner's slot processes: its children that are no spooler."""
        children = psutil.Process(runner_pid).children()
        return [child for child in children if "rivet.wiring.spooler" not in " ".join(child.cmdline())]


@dataclass(frozen=True)
class Web:
    """Serves the files of `folder` at `http://127.0.0.1:<port>/`."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def wait_for(told: Callable[[], bool], within_s: float, what: Callable[[], str] = lambda: "") -> None:
    deadline = time.monotonic() + within_s
    while not told():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what()}"
        time.sleep(0.05)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Alice", "-c", "user.email=alice@rivet.test")
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout


def a_repository(folder: Path, files: dict[str, str]) -> Path:
    """A real git repository on branch `main` with these files, readable by every user."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder

