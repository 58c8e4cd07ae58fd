"""`python -m tests.chaos.siege --runs N --seed S`: runs without end, a kill every few seconds, and a table."""

import argparse
import contextlib
import random
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from rivet.client import ApiProblem, ApiUnreachable

from ..ports import free_port_now
from ..system.beside import beside
from ..system.rivet_home import RIVET, RivetHome
from ..system.second_runner import SecondRunner, stop
from .__main__ import say, start_home
from .effects import Effects
from .faults import RESTARTED, Hit, inflict
from .plant import Plant
from .rounds import MOST_RESTARTS, left_over
from .shapes import Shape, stage_shape
from .verdict import Findings, Judge

KILL_EVERY_S = 5.0
UNFINISHED = 12
SLOTS = 2
"""Of each of the two runners."""
AFTER_S = 120.0
"""How long the last runs have for their ends, once nobody is killed any more."""
KILLED = (
    "runner", "second", "slot", "spooler", "control", "api", "backend", "redis", "agent", "builder", "lua", "zygote",
)


@dataclass(slots=True)
class Submitted:
    run: str
    shape: Shape
    at: float
    ended_at: float | None = None
    effects: dict[tuple[str, int], int] = field(default_factory=dict)


class Siege:
    """Keeps so many runs unfinished, while a thread of its own kills."""

    def __init__(self, plant: Plant, effects: Effects, count: int, chance: random.Random) -> None:
        self._plant, self._effects, self._count = plant, effects, count
        self._shapes = [three_stages(number, chance) for number in range(1, count + 1)]
        self._chance = random.Random(chance.randrange(10**9))
        self._over = threading.Event()
        self._restarted: list[tuple[float, str]] = []
        self.hits: list[tuple[float, Hit]] = []
        self.runs: list[Submitted] = []
        self.ailing: str | None = None

    def lay(self) -> None:
        killer = threading.Thread(target=self._kill, name="killer", daemon=True)
        killer.start()
        told = 0
        for shape in self._shapes:
            while len(self._unfinished()) >= UNFINISHED:
                time.sleep(0.1)
                self._look()
            self.runs.append(self._submitted(shape))
            if len(self.runs) >= told + 100:
                told = len(self.runs)
                say(f"{time.strftime('%H:%M:%S')} {told} runs, {len(self.hits)} kills")
        self._over.set()
        killer.join()
        deadline = time.monotonic() + AFTER_S
        while self._unfinished() and time.monotonic() < deadline:
            time.sleep(0.2)
            self._look()
        while (ailing := self._plant.ailing()) is not None and time.monotonic() < deadline:
            time.sleep(0.2)
        self.ailing = ailing

    def _unfinished(self) -> list[Submitted]:
        return [one for one in self.runs if one.ended_at is None]

    def _submitted(self, shape: Shape) -> Submitted:
        """A submission that got no answer may have been heard: nobody else uses this pipeline."""
        home, at = self._plant.home, time.monotonic()
        while True:
            with contextlib.suppress(ApiUnreachable, ApiProblem):
                there = home.client.call("GET", f"/runs?pipeline={shape.slug}")["items"]
                run = there[0]["id"] if there else home.submit(shape.slug, shape.lua(self._effects.port))
                return Submitted(run, shape, at)
            time.sleep(0.2)

    def _look(self) -> None:
        """Note which runs have ended, and what effects they had by then."""
        unfinished = {one.run: one for one in self._unfinished()}
        with contextlib.suppress(Exception):  # whatever answers may be what was killed
            ended = self._plant.home.query(
                "SELECT id::text FROM run WHERE ended_at IS NOT NULL AND id = ANY(%s::uuid[])", list(unfinished)
            )
            for (run,) in ended:
                unfinished[run].effects = self._effects.of(run)
                unfinished[run].ended_at = time.monotonic()

    def _kill(self) -> None:
        while not self._over.wait(KILL_EVERY_S):
            now = time.monotonic()
            self._restarted = [(at, name) for at, name in self._restarted if now - at < 60]
            recent = [name for _, name in self._restarted]
            name = self._chance.choice([one for one in KILLED if recent.count(one) < MOST_RESTARTS])
            hit = inflict(name, self._plant, self._chance, 0.0)
            if hit is not None:
                self.hits.append((now, hit))
                self._restarted += [(now, name)] if name in RESTARTED else []

    def judge(self) -> tuple[Findings, Counter[str]]:
        """Every run, against the kills of its lifetime."""
        findings, outcomes = Findings(), Counter[str]()
        if self.ailing is not None:
            findings.stuck.append(f"the system did not become well again: {self.ailing}")
        findings.stuck += [f"run {one.run} ({one.shape.slug}) did not end" for one in self._unfinished()]
        with ThreadPoolExecutor(2) as pool:
            for outcome in pool.map(lambda one: self._judged(one, findings), self.runs):
                outcomes[outcome] += 1
        return findings, outcomes

    def _judged(self, one: Submitted, findings: Findings) -> str:
        run: dict[str, Any] = self._plant.home.run(one.run)
        if one.ended_at is None:
            return "not ended"
        hits = [hit for at, hit in self.hits if one.at - 1 < at < one.ended_at]
        home, effects = self._plant.home, self._effects.of(one.run)
        Judge(home, one.shape, run, effects, hits, findings, one.effects).judge()
        attempts = sum(len(stage["attempts"]) for stage in run["stages"])
        again = " in a second attempt" if run["status"] == "passed" and attempts > len(run["stages"]) else ""
        return f"{run['status']}{again}" + (f", reason {run['reason']}" if run["reason"] else "")


def three_stages(number: int, chance: random.Random) -> Shape:
    stages = []
    for key, before in (("a", None), ("b", "a"), ("c", "b")):
        stages.append(stage_shape(key, before, chance))
    return Shape(f"siege-{number}", chance.choice(("error", "restart")), tuple(stages))


@contextlib.contextmanager
def two_of_everything(home: RivetHome) -> Iterator[SecondRunner]:
    """A second runner, which is started again when it dies, and another API and control, which nobody kills."""
    others = [
        beside(home, "api", [*RIVET, "serve", "--port", str(free_port_now())], {}),
        beside(home, "control", [*RIVET, "control"], {}),
    ]
    second = SecondRunner(home, "default", slots=SLOTS)
    try:
        second.until_online()
        second.keep()
        yield second
    finally:
        second.end()
        for other in others:
            stop(other)


def deadlocks(home: RivetHome) -> list[str]:
    """What PostgreSQL's log says of them, of all that is left of it."""
    logs = sorted((home.folder / "home" / "logs").glob("postgresql*"))
    found = sum(log.read_text(errors="replace").count("deadlock detected") for log in logs)
    return [f"PostgreSQL broke up {found} deadlocks"] if found else []


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.siege", description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=None)
    asked = parser.parse_args()
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(10**6)
    say(f"siege: {asked.runs} runs of 3 stages, a kill every {KILL_EVERY_S:g} s, seed {seed}")
    with Effects() as effects:
        home = start_home(effects.port, slots=SLOTS)
        try:
            with two_of_everything(home) as second:
                began = time.monotonic()
                siege = Siege(Plant(home, second), effects, asked.runs, random.Random(seed))
                siege.lay()
                took_s = time.monotonic() - began
                findings, outcomes = siege.judge()
                findings.stuck += left_over(Plant(home, second), [], [one.run for one in siege.runs])
            findings.stuck += deadlocks(home)
        finally:
            home.down()
            shutil.rmtree(home.folder, ignore_errors=True)
    for line in findings.told():
        say(line)
    for outcome, count in outcomes.most_common():
        say(f"{count:6} {outcome}")
    kills = Counter(hit.fault for _, hit in siege.hits)
    say("kills: " + ", ".join(f"{name} {count}" for name, count in sorted(kills.items())))
    say(
        f"{len(siege.runs)} runs in {took_s:.0f} s, {len(siege.hits)} kills, {len(findings.lost)} lost, "
        f"{len(findings.doubled)} doubled, {len(findings.stuck)} stuck"
    )
    return 1 if findings or len(siege.runs) < asked.runs else 0


if __name__ == "__main__":
    sys.exit(main())
