"""The system under chaos: where its processes are, and whether all of it is well."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import redis

from ..system.rivet_home import RivetHome
from ..system.second_runner import SecondRunner

PARTS = ("postgresql", "redis", "flower", "api", "control", "runner")


class Plant:
    """A `RivetHome` that is up, seen from outside, and its second runner. Processes are looked up anew each time."""

    def __init__(self, home: RivetHome, second: SecondRunner | None = None) -> None:
        self.home, self.second = home, second
        self._broker_url = home.told("control")["RIVET_BROKER_URL"]
        home.database_url()  # looked up while control is there to ask

    def state(self) -> dict[str, Any]:
        return self.state_in(self.home.folder)

    @staticmethod
    def state_in(folder: Path) -> dict[str, Any]:
        """What `rivet up` last wrote of itself and its parts; `folder` is that of a `RivetHome`."""
        for _ in range(20):
            try:
                return dict(json.loads((folder / "home" / "state.json").read_text()))
            except (OSError, ValueError):
                time.sleep(0.05)
        return {"parts": []}

    def part(self, name: str) -> psutil.Process:
        """The part's own process. Raises psutil.NoSuchProcess where it is dead."""
        pid = next((part["pid"] for part in self.state()["parts"] if part["name"] == name), None)
        if not pid:
            raise psutil.NoSuchProcess(0, name)
        return psutil.Process(pid)

    def runner_name(self) -> str:
        """Of the runner that `rivet up` has started."""
        return next(folder.name for folder in (self.home.folder / "home" / "runners").iterdir())

    def slots(self) -> list[psutil.Process]:
        return self.home.slots_of(self.part("runner").pid)

    def all_slots(self) -> list[psutil.Process]:
        """Of both runners."""
        found = self.slots()
        if self.second is not None:
            children = psutil.Process(self.second.process.pid).children()
            found += [child for child in children if "rivet.wiring.spooler" not in _said(child)]
        return found

    def spooler(self) -> list[psutil.Process]:
        return [child for child in self.part("runner").children() if "rivet.wiring.spooler" in _said(child)]

    def below(self, slot: psutil.Process, what: str) -> list[psutil.Process]:
        """A slot's `zygote`, `lua` children, `builder` of rooms, or `agent` of one."""
        zygotes = [child for child in slot.children() if "zygote.py" in _said(child)]
        builders = [child for child in slot.children() if _name(child) == "rivet-builder"]
        if what == "zygote":
            return zygotes
        if what == "builder":
            return builders
        if what == "lua":
            return [lua for zygote in zygotes for lua in zygote.children()]
        return [agent for builder in builders for agent in builder.children() if _name(agent) == "rivet-agent"]

    def jobs_held(self) -> dict[int, set[str]]:
        """The ids of the jobs that each process of the runners has locked, by its pid."""
        held: dict[int, set[str]] = {}
        for lock in self.home.folder.glob("*/runners/*/jobs/*/lock"):
            try:
                pid = lock.read_text().split(" ")[0]
            except OSError:
                continue
            if pid.isdigit():
                held.setdefault(int(pid), set()).add(lock.parent.name)
        return held

    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self._broker_url, socket_timeout=3, socket_connect_timeout=3)

    def set_read_only(self, read_only: bool) -> None:
        """Let PostgreSQL refuse every write, as a standby does, or take them again."""
        told = self.home.folder / "home" / "postgresql" / "postgresql.auto.conf"
        told.write_text(f"default_transaction_read_only = {'on' if read_only else 'off'}\n")
        self.part("postgresql").send_signal(signal.SIGHUP)

    def ailing(self) -> str | None:
        """What is not well; None where everything is."""
        parts = {part["name"]: part["state"] for part in self.state()["parts"]}
        for name in PARTS:
            if parts.get(name) != "running":
                return f"{name} is {parts.get(name)}"
        try:
            self.home.client.call("GET", "/readyz", timeout_s=5)
            runners = self.home.client.call("GET", "/runners?limit=500", timeout_s=5)["items"]
            if {runner["status"] for runner in runners} != {"online"} or len(runners) != self._runners():
                return f"runners: {runners}"
            if self.second is not None and len(self.all_slots()) != self.home.slots + self.second.slots:
                return "the second runner has not all of its slots"
            if len(self.slots()) != self.home.slots or len(self.spooler()) != 1:
                return f"{len(self.slots())} slots, {len(self.spooler())} spoolers"
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return None

    def _runners(self) -> int:
        return 1 if self.second is None else 2

    def failed_parts(self) -> list[str]:
        """Parts that `rivet up` has given up."""
        return [part["name"] for part in self.state()["parts"] if part["state"] == "failed"]

    def at_work(self) -> list[psutil.Process]:
        """What of the runner runs only while a stage does: rooms and Lua children, and all within."""
        found = []
        for slot in self.all_slots():
            for what in ("lua", "agent"):
                for process in self.below(slot, what):
                    found += [process, *process.children(recursive=True)]
        return found

    def logs(self) -> dict[str, int]:
        """How long each part's log is."""
        return {path.name: path.stat().st_size for path in self._logs()}

    def said_since(self, before: dict[str, int], last: int = 60) -> str:
        """The last lines of each part's log, of what was written since `before`."""
        told = []
        for path in self._logs():
            raw = path.read_bytes()
            lines = raw[min(before.get(path.name, 0), len(raw)) :].decode(errors="replace").splitlines()
            told += [f"--- {path.name}", *lines[-last:]]
        return "\n".join(told)

    def _logs(self) -> list[Path]:
        return sorted([*(self.home.folder / "home" / "logs").glob("*.log"), *self.home.folder.glob("second.log")])


def _said(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""
