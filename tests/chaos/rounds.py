"""One round: submit runs, wait, hit, wait for their ends, judge."""

import contextlib
import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil

from rivet.client import ApiProblem, ApiUnreachable

from .answers import answer
from .effects import Effects
from .ends import overlaps
from .faults import FAULTS, RESTARTED, Hit, inflict
from .flows import flows
from .plant import Plant
from .shapes import Shape, shapes
from .verdict import Findings, Judge

END_S = 75.0
WELL_S = 45.0
CANCEL_S = 40.0
LEFT_OVER_S = 8.0
PAIRS = 0.35
MOST_RESTARTS = 3
"""A minute: `rivet up` gives a part up after five, and one may fall because of another."""


_HEARD = frozenset({"cancelling", "cancelled", "passed", "failed", "errored", "timed_out"})


@dataclass(slots=True)
class Round:
    number: int
    seed: int
    told: list[str] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)
    outcomes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    hits: list[Hit] = field(default_factory=list)

    def line(self) -> str:
        hits = "; ".join(hit.told() for hit in self.hits) or "nobody was found to hit"
        verdict = "ok" if not self.findings else "BAD"
        return (
            f"round {self.number} seed {self.seed}: {hits} | {', '.join(self.outcomes)} | "
            f"{self.seconds:.1f} s {verdict}"
        )


@dataclass(slots=True)
class Rounds:
    """Plays rounds on one plant. What was restarted when is kept from round to round."""

    plant: Plant
    effects: Effects
    say: Callable[[str], None]
    _restarted: list[tuple[float, str]] = field(default_factory=list)

    def play(self, number: int, seed: int, faults: Sequence[str] | None = None) -> Round:
        """`faults` are hit instead of those that the seed would choose."""
        chance = random.Random(seed)
        played = Round(number, seed)
        began = time.monotonic()
        planned = [*shapes(chance), *flows(chance)]
        logs = self.plant.logs()
        chosen = self._choose(chance)
        if (ailing := self._until_well()) is not None:
            played.findings.stuck.append(f"the system is not well: {ailing}")
        else:
            self._run(played, planned, chance, faults if faults is not None else chosen, logs)
        played.seconds = time.monotonic() - began
        self.say(played.line())
        for line in [*played.findings.told(), *played.told]:
            self.say(f"    {line}")
        return played

    def _run(
        self, played: Round, planned: Sequence[Shape], chance: random.Random, faults: Sequence[str],
        logs: dict[str, int],
    ) -> None:
        home = self.plant.home
        since = time.monotonic()
        deadline = since + END_S
        runs = [(home.submit(shape.slug, shape.lua(self.effects.port)), shape) for shape in planned]
        for run_id, shape in runs:
            if shape.cancel_after_s is not None:
                threading.Timer(shape.cancel_after_s, self._cancel, (run_id, played)).start()
            for stage in shape.stages:
                if stage.answer is not None:
                    told = (home, run_id, stage, chance.uniform(0.0, 1.5), deadline)
                    threading.Thread(target=answer, args=told, daemon=True).start()
        at_work: list[psutil.Process] = []
        for place, name in enumerate(faults):
            time.sleep(chance.uniform(0.0, 1.0) if place else chance.uniform(0.0, 1.8))
            with contextlib.suppress(psutil.Error):
                at_work += self.plant.at_work()
            hit = inflict(name, self.plant, chance, since)
            if hit is not None:
                played.hits.append(hit)
                self._restarted += [(time.monotonic(), name)] if name in RESTARTED else []
        ended = [(*self._ended(run_id, shape, deadline, played), self.effects.of(run_id)) for run_id, shape in runs]
        if (ailing := self._until_well()) is not None:
            played.findings.stuck.append(f"the system did not become well again: {ailing}")
        for run, shape, before in ended:
            if run is None:
                continue
            played.outcomes.append(f"{run['status']}{'/' + run['reason'] if run['reason'] else ''}")
            Judge(home, shape, run, self.effects.of(run["id"]), played.hits, played.findings, before).judge()
        for what in overlaps([(shape, run) for run, shape, _ in ended if run is not None]):
            played.findings.doubled.append(what)
        played.findings.stuck += left_over(self.plant, at_work, [run_id for run_id, _ in runs])
        if played.findings:
            self._explain(runs, played, logs)

    def _cancel(self, run_id: str, played: Round) -> None:
        """Asked again until it was heard, and not once more: that would end `finally` as well."""
        deadline = time.monotonic() + CANCEL_S
        asked = False
        while time.monotonic() < deadline:
            try:
                if asked and self.plant.home.run(run_id)["status"] in _HEARD:
                    return
                asked = True
                self.plant.home.client.call("POST", f"/runs/{run_id}/cancel", {})
                return
            except (ApiUnreachable, ApiProblem) as away:
                why = str(away)
                time.sleep(0.2)
        played.findings.stuck.append(f"run {run_id} cannot be cancelled: {why}")

    def _choose(self, chance: random.Random) -> list[str]:
        """One fault, or two different ones; none that would make `rivet up` give a part up."""
        now = time.monotonic()
        self._restarted = [(at, name) for at, name in self._restarted if now - at < 60]
        recent = [name for _, name in self._restarted]
        possible = [name for name in FAULTS if recent.count(name) < MOST_RESTARTS]
        return chance.sample(possible, 2 if chance.random() < PAIRS else 1)

    def _until_well(self) -> str | None:
        deadline = time.monotonic() + WELL_S
        while (ailing := self.plant.ailing()) is not None and time.monotonic() < deadline:
            time.sleep(0.1)
        return ailing

    def _ended(
        self, run_id: str, shape: Shape, deadline: float, played: Round
    ) -> tuple[dict[str, Any] | None, Shape]:
        try:
            left_s = max(deadline - time.monotonic(), 1.0)
            return self.plant.home.finish(run_id, within_s=left_s), shape
        except AssertionError as late:
            played.findings.stuck.append(f"run {run_id} ({shape.slug}): {str(late)[:300]}")
            return None, shape

    def _explain(self, runs: Sequence[tuple[str, Shape]], played: Round, logs: dict[str, int]) -> None:
        """All that one needs to understand what went wrong."""
        bad = " ".join(played.findings.told())
        for run_id, shape in runs:
            if run_id not in bad:
                continue
            played.told += [shape.told(), f"effects {self.effects.of(run_id)}"]
            with contextlib.suppress(Exception):
                played.told.append(json.dumps(self.plant.home.run(run_id)))
                played.told += [
                    str(row) for row in self.plant.home.query(
                        "SELECT pos, at::text, type, job_id::text, epoch, seq, stage, attempt, late, first_line, "
                        "lines, left(data::text, 300) FROM record WHERE run_id = %s ORDER BY pos", run_id,
                    )
                ]
                played.told += [
                    str(row) for row in self.plant.home.query(
                        "SELECT job.id::text, status, reason, job.epoch, runner, last_seq, ingested_seq, "
                        "lease.renewed_at::text, lease.helped FROM job LEFT JOIN lease ON lease.job_id = job.id "
                        "WHERE run_id = %s", run_id,
                    )
                ]
        for marks in self.plant.home.folder.glob("*/runners/*/jobs/*/*"):
            if marks.name.startswith(("marks.", "lock", "spool.")):
                text = f"{marks.stat().st_size} bytes" if "spool" in marks.name else marks.read_text()
                played.told.append(f"{marks.parent.name}/{marks.name}: {text}")
        played.told += self.plant.said_since(logs).splitlines()


def left_over(plant: Plant, before: list[psutil.Process], runs: Sequence[str]) -> list[str]:
    """What of these runs is still there a while after their ends: rooms, Lua children, processes of stages."""
    deadline = time.monotonic() + LEFT_OVER_S
    while True:
        left = [p for p in before if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
        with contextlib.suppress(psutil.Error):
            left += plant.at_work()
        left += _of_runs(runs)
        if not left or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return [f"left over: {process.pid} {' '.join(process.cmdline())[:80]}" for process in left]


def _of_runs(runs: Sequence[str]) -> list[psutil.Process]:
    """Processes that a stage of these runs has started, wherever they are by now."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("RIVET_RUN_ID") in runs and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
