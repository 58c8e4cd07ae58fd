"""What must hold of a run whatever was done to the system, and what does not hold of this one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..system.rivet_home import RivetHome
from .ends import told_of, wrong_ends
from .faults import EVERY_RUNNER, Hit
from .shapes import Shape, StageShape


@dataclass(slots=True)
class Findings:
    """What was lost, what happened twice, what did not end: sentences, each naming its run."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.stuck)

    def told(self) -> list[str]:
        return [
            f"{kind.upper()}: {what}"
            for kind, all_of in (("lost", self.lost), ("doubled", self.doubled), ("stuck", self.stuck))
            for what in all_of
        ]


@dataclass(slots=True)
class Judge:
    """Judges one ended run. `run` is the API's, `effects` are those that were counted, `before` at its end."""

    home: RivetHome
    shape: Shape
    run: Mapping[str, Any]
    effects: Mapping[tuple[str, int], int]
    hits: list[Hit]
    findings: Findings
    before: Mapping[tuple[str, int], int] | None = None

    def judge(self) -> None:
        self._end()
        self._effects()
        self._lines()
        self._events()

    def _lost(self, what: str) -> None:
        self.findings.lost.append(f"run {self.run['id']} ({self.shape.slug}): {what}")

    def _doubled(self, what: str) -> None:
        self.findings.doubled.append(f"run {self.run['id']} ({self.shape.slug}): {what}")

    def _stages(self) -> list[tuple[StageShape, Mapping[str, Any]]]:
        return told_of(self.shape, self.run)

    def _end(self) -> None:
        """The state, and whether what was done to the run can have brought it there."""
        wrong, again = wrong_ends(self.shape, self.run, blamed=self._is_to_blame(), hit=self._hit())
        for what in wrong:
            self._lost(what)
        for what in again:
            self._doubled(what)

    def _is_to_blame(self) -> bool:
        """Whether a slot, a runner, a room or a Lua child was taken from this run."""
        jobs = {stage["job"] for stage in self.run["stages"]}
        runners = {attempt["runner"] for stage in self.run["stages"] for attempt in stage["attempts"]}
        runners |= {stage["runner"] for stage in self.run["stages"]}
        return any(hit.jobs & jobs or hit.runner in (*runners, EVERY_RUNNER) for hit in self.hits)

    def _hit(self) -> str:
        return "; ".join(one.told() for one in self.hits) or "nothing"

    def _effects(self) -> None:
        """An attempt that ran to its end has had its effect once, another at most once, and no other any."""
        if self.before is not None and self.before != self.effects:
            self._doubled(f"its effects were {self.before} when it ended, and are {self.effects}")
        left = dict(self.effects)
        for stage, told in self._stages():
            for attempt in told["attempts"]:
                had = left.pop((stage.key, attempt["number"]), 0)
                what = f"attempt {attempt['number']} of stage {stage.key}, {attempt['status']}, had {had} effects"
                if had > 1:
                    self._doubled(what)
                if _is_whole(stage, attempt) and stage.has_effect and had == 0:
                    self._lost(what)
        for (key, number), had in left.items():
            self._doubled(f"attempt {number} of stage {key}, which the run does not know, had {had} effects")
        for stage, told in self._stages():
            passed = sum(attempt["status"] == "passed" for attempt in told["attempts"])
            if passed > 1:
                self._doubled(f"stage {stage.key} passed {passed} times")

    def _lines(self) -> None:
        """Complete where an attempt ran to its end, else from the first on without a hole; once, in order."""
        for stage, told in self._stages():
            for attempt in told["attempts"]:
                said = self._said(stage.key, attempt["number"])
                own = [line["text"] for line in said if line["stream"] != "rivet"]
                # Late lines are of an epoch before, which may have made this attempt too: history, and not counted.
                numbers = [line["line"] for line in said if not line.get("late")]
                expected = stage.expected(attempt["number"])
                where = f"attempt {attempt['number']} of stage {stage.key} ({attempt['status']})"
                if len(set(own)) < len(own) or len(set(numbers)) < len(numbers):
                    self._doubled(f"{where}: lines came twice: {_odd(own, expected)}")
                elif own != expected[: len(own)]:
                    self._lost(f"{where}: lines are missing or out of order: {_odd(own, expected)}")
                elif _is_whole(stage, attempt) and own != expected:
                    self._lost(f"{where}: has {len(own)} of {len(expected)} lines")
                if numbers != list(range(1, len(numbers) + 1)):
                    self._lost(f"{where}: its lines are numbered {numbers[:5]} … {numbers[-5:]}")
                on_time = sum(not line.get("late") for line in said)
                if attempt["lines"] != on_time:
                    self._lost(f"{where}: says that it has {attempt['lines']} lines, and has {on_time}")

    def _said(self, stage: str, attempt: int) -> list[dict[str, Any]]:
        path = f"/runs/{self.run['id']}/logs?format=ndjson&stage={stage}&attempt={attempt}"
        return [json.loads(line) for line in self.home.client.lines(path) if line.strip()]

    def _events(self) -> None:
        """Positions rise, `end` is the last and the only one, and its number of lines is that of the lines."""
        events = list(self.home.client.events(str(self.run["id"]), give_up_after_s=20))
        positions = [int(event.id) for event in events]
        if positions != sorted(set(positions)):
            self._doubled(f"its events have positions {positions}")
        if [event.type for event in events].count("end") != 1 or events[-1].type != "end":
            self._lost(f"its events end with {[event.type for event in events][-3:]}")
            return
        on_time = [event for event in events if event.type == "log" and not event.data.get("late")]
        lines = sum(len(event.data["lines"]) for event in on_time)
        if events[-1].data["lines"] != lines or self.run["lines"] != lines:
            self._lost(
                f"`end` says {events[-1].data['lines']} lines, the run {self.run['lines']}, the events have {lines}"
            )


def _is_whole(stage: StageShape, attempt: Mapping[str, Any]) -> bool:
    """Whether it ran to its end: it passed, or failed as it was meant to."""
    return attempt["status"] == "passed" or (attempt["status"] == "failed" and attempt["number"] <= stage.fails)


def _odd(said: list[str], expected: list[str]) -> str:
    """Where what was said leaves what was expected."""
    at = next((n for n, (a, b) in enumerate(zip(said, expected, strict=False)) if a != b), len(expected))
    return f"{len(said)} lines, from line {at + 1} on {said[at : at + 4]} instead of {expected[at : at + 4]}"
