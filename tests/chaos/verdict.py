"""What must hold of a run whatever was done to the system, and what does not hold of this one."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..system.rivet_home import RivetHome
from .faults import Hit
from .shapes import Shape, StageShape

_OF_SLOTS = {"error": {"slot_lost", "runner_lost"}, "restart": {"workspace_lost", "begun_too_often"}}


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
        told = {stage["key"]: stage for stage in self.run["stages"]}
        return [(stage, told[stage.key]) for stage in self.shape.stages]

    def _end(self) -> None:
        """The state, and whether what was done to the run can have brought it there."""
        status, reason = self.run["status"], self.run["reason"]
        ends = [told["status"] for _, told in self._stages()]
        passed = ["passed"] * ends.count("passed")
        cancelled = self.shape.cancel_after_s is not None
        endless = any(stage.timeout_s is not None for stage, _ in self._stages())
        if status == "passed" and not endless:
            self._passed(reason)
        elif status == "timed_out" and endless:
            expected = [*passed, "timed_out", *["skipped"] * ends.count("skipped")]
            if ends != expected or reason != "limit_stage_time":
                self._lost(f"it timed out, reason {reason}, with stages {ends}")
        elif status == "cancelled" and cancelled:
            rest = set(ends[len(passed):])
            if ends[: len(passed)] != passed or "cancelled" not in rest or reason != "cancelled_by":
                self._lost(f"it was cancelled, reason {reason}, with stages {ends}")
            if not rest <= ({"cancelled", "errored"} if self._is_to_blame() else {"cancelled"}):
                self._lost(f"it was cancelled with stages {ends}, though hit were only: {self._hit()}")
        elif status == "errored":
            if not self._is_to_blame() or reason not in _OF_SLOTS[self.shape.on_lost]:
                self._lost(f"it ended errored, reason {reason}, though hit were only: {self._hit()}")
            rest = ends[len(passed) + 1 :]
            if ends[: len(passed) + 1] != [*passed, "errored"] or set(rest) - (
                {"skipped", "cancelled"} if cancelled else {"skipped"}
            ):
                self._lost(f"it ended errored with stages {ends}")
        else:
            self._lost(f"it ended {status}, reason {reason}: nothing that was done to it explains that")

    def _passed(self, reason: str | None) -> None:
        for stage, told in self._stages():
            attempts = [attempt["status"] for attempt in told["attempts"]]
            if told["status"] != "passed" or Counter(attempts)["passed"] != 1:
                self._lost(f"it passed, but stage {stage.key} is {told['status']} with {attempts}")
            if set(attempts) - {"passed", "lost"}:
                self._lost(f"it passed, but stage {stage.key} has attempts {attempts}")
        if reason is not None:
            self._lost(f"it passed, with reason {reason}")

    def _is_to_blame(self) -> bool:
        """Whether a slot, the runner, a room or a Lua child was taken from this run."""
        jobs = {stage["job"] for stage in self.run["stages"]}
        return any(hit.all_jobs or hit.jobs & jobs for hit in self.hits)

    def _hit(self) -> str:
        return "; ".join(one.told() for one in self.hits) or "nothing"

    def _effects(self) -> None:
        """A passed attempt has had its effect once, another at most once, and no other has had any."""
        if self.before is not None and self.before != self.effects:
            self._doubled(f"its effects were {self.before} when it ended, and are {self.effects}")
        left = dict(self.effects)
        for stage, told in self._stages():
            for attempt in told["attempts"]:
                had = left.pop((stage.key, attempt["number"]), 0)
                what = f"attempt {attempt['number']} of stage {stage.key}, {attempt['status']}, had {had} effects"
                if had > 1:
                    self._doubled(what)
                if attempt["status"] == "passed" and stage.has_effect and had == 0:
                    self._lost(what)
        for (key, number), had in left.items():
            self._doubled(f"attempt {number} of stage {key}, which the run does not know, had {had} effects")
        for stage, told in self._stages():
            passed = sum(attempt["status"] == "passed" for attempt in told["attempts"])
            if passed > 1:
                self._doubled(f"stage {stage.key} passed {passed} times")
            if self.shape.on_lost == "error" and len(told["attempts"]) > 1:
                self._doubled(f"stage {stage.key} was begun again, though on_lost is error")

    def _lines(self) -> None:
        """Complete where an attempt passed, else from the first on without a hole; once, in order."""
        for stage, told in self._stages():
            for attempt in told["attempts"]:
                said = self._said(stage.key, attempt["number"])
                own = [line["text"] for line in said if line["stream"] != "rivet"]
                numbers = [line["line"] for line in said]
                expected = stage.expected(attempt["number"])
                where = f"attempt {attempt['number']} of stage {stage.key} ({attempt['status']})"
                if len(set(own)) < len(own) or len(set(numbers)) < len(numbers):
                    self._doubled(f"{where}: lines came twice: {_odd(own, expected)}")
                elif own != expected[: len(own)]:
                    self._lost(f"{where}: lines are missing or out of order: {_odd(own, expected)}")
                elif attempt["status"] == "passed" and own != expected:
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


def _odd(said: list[str], expected: list[str]) -> str:
    """Where what was said leaves what was expected."""
    at = next((n for n, (a, b) in enumerate(zip(said, expected, strict=False)) if a != b), len(expected))
    return f"{len(said)} lines, from line {at + 1} on {said[at : at + 4]} instead of {expected[at : at + 4]}"
