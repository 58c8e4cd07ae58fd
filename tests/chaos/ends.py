"""Whether a run ended as it may: each stage by what it was meant to do, by those it waited for, and by what was hit."""

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .shapes import Shape, StageShape

Told = Mapping[str, Any]
_WORST_FIRST = ("errored", "timed_out", "failed", "cancelled")
_NO_STAGE: Told = {"status": "missing", "reason": None, "attempts": [], "job": None}


def told_of(shape: Shape, run: Told) -> list[tuple[StageShape, Told]]:
    """What the run says of each stage. Copies of a matrix that was never expanded are all its one stage."""
    told = {stage["key"]: stage for stage in run["stages"]}
    return [
        (stage, told.get(stage.key) or (told.get(stage.group) if stage.group else None) or _NO_STAGE)
        for stage in shape.stages
    ]


def wrong_ends(shape: Shape, run: Told, *, blamed: bool, hit: str) -> tuple[list[str], list[str]]:
    """Sentences: what ended wrongly, and what was begun once too often.

    `blamed`: a slot, a runner, a room or a Lua child was taken from the run; `hit` says what was hit at all.
    """
    ends = _Ends(shape, run, blamed, hit)
    ends.judge()
    return ends.wrong, ends.again


def overlaps(runs: list[tuple[Shape, Told]]) -> list[str]:
    """Runs that took turns and went on at the same time, or in another order than they were started in."""
    found = []
    took = sorted(
        (run for shape, run in runs if shape.turn is not None and run["started_at"]), key=lambda run: run["created_at"]
    )
    for one, following in itertools.pairwise(took):
        if following["started_at"] < one["ended_at"]:
            found.append(
                f"run {following['id']} started at {following['started_at']}, while it was the turn of "
                f"{one['id']} until {one['ended_at']}"
            )
    return found


@dataclass(slots=True)
class _Ends:
    shape: Shape
    run: Told
    blamed: bool
    hit: str
    wrong: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)

    def judge(self) -> None:
        told = told_of(self.shape, self.run)
        for stage, one in told:
            self._stage(stage, one)
            self._order(stage, one)
        self._abreast(told)
        self._whole([one for _, one in told])
        self._heading()

    def _of(self, keys: tuple[str, ...]) -> list[Told]:
        return [one for stage, one in told_of(self.shape, self.run) if stage.key in keys]

    def _before(self, stage: StageShape) -> list[Told]:
        """Those that must have gone well before it may begin."""
        return self._of(stage.waits_for)

    def _stage(self, stage: StageShape, one: Told) -> None:
        """One of a lost job may have begun unheard, with the end of the stage before it."""
        status, reason, where = one["status"], one["reason"], f"stage {stage.key} is {one['status']}, {one['reason']}"
        ready = all(_is_well(before) for before in self._before(stage))
        untold = self.blamed and all(attempt["status"] == "lost" for attempt in one["attempts"])
        if one["attempts"] and not ready and not untold:
            self.wrong.append(f"{where}, and was begun though not all that it waits for went well")
        match status:
            case "passed" | "warned" | "failed" | "timed_out":
                if not ready or not self._is_meant(stage, one):
                    self.wrong.append(f"{where}: it was meant to end as {stage.told()}")
            case "skipped":
                by_rule = reason == "skipped_by_rule" and stage.skips
                if not by_rule and (ready or reason != "earlier_failure") and not self._is_of_a_failed_group(stage):
                    self.wrong.append(f"{where}, though nothing before it went wrong")
            case "cancelled":
                if not self._may_be_cancelled() and not self._is_of_a_failed_group(stage):
                    self.wrong.append(f"{where}, though nobody cancelled anything")
                if stage.is_last and any(each["attempts"] for each in self.run["stages"]):
                    self.wrong.append(f"{where}: it was to have its turn though the run was cancelled")
            case "errored":
                if not self.blamed or reason not in self._losses(stage):
                    self.wrong.append(f"{where}, though hit were only: {self.hit}")
            case _:
                self.wrong.append(f"{where} at the run's end")
        self._attempts(stage, one)

    def _is_meant(self, stage: StageShape, one: Told) -> bool:
        status, reason = one["status"], one["reason"]
        if stage.skips:
            return False
        if stage.answer in ("reject", "expire"):
            return (status, reason) == {
                "reject": ("failed", "rejected"), "expire": ("timed_out", "expired")
            }[stage.answer]  # fmt: skip
        if stage.timeout_s is not None:
            return bool(status == "timed_out" and reason == "limit_stage_time")
        if stage.fails >= stage.tries:
            return bool(status == ("warned" if stage.warns else "failed") and reason is None)
        last = max((attempt["number"] for attempt in one["attempts"]), default=0)
        return bool(status == "passed" and reason == ("passed_on_retry" if last > 1 else None))

    def _attempts(self, stage: StageShape, one: Told) -> None:
        """Each attempt ended as it was meant to or was lost, and none was made that was not to be."""
        ends = [attempt["status"] for attempt in one["attempts"]]
        for number, end in enumerate(ends, 1):
            meant = "timed_out" if stage.timeout_s is not None else "failed" if number <= stage.fails else "passed"
            allowed = (meant, "lost", "cancelled", *(["errored"] if one["status"] == "errored" else []))
            if end not in allowed or one["attempts"][number - 1]["number"] != number:
                self.wrong.append(f"stage {stage.key} has attempts {ends}: number {number} was meant to be {meant}")
            is_over = end == "passed" or (end == "failed" and number >= stage.tries) or end == "timed_out"
            if number < len(ends) and (is_over or end == "cancelled" or (end == "lost" and not self._again(stage))):
                self.again.append(f"stage {stage.key} was begun again after attempts {ends[:number]}")
        has_run = one["status"] in ("passed", "timed_out") and stage.has_script and one["reason"] != "expired"
        if has_run and ends[-1:] != [one["status"]]:
            self.wrong.append(f"stage {stage.key} is {one['status']} with attempts {ends}")
        if one["status"] in ("failed", "warned") and one["reason"] != "rejected" and len(ends) < stage.tries:
            self.wrong.append(f"stage {stage.key} is {one['status']} after {len(ends)} of {stage.tries} attempts")

    def _again(self, stage: StageShape) -> bool:
        return stage.tried_when_lost or self.shape.on_lost == "restart"

    def _losses(self, stage: StageShape) -> set[str]:
        again = self._again(stage)
        found = {"workspace_lost", "begun_too_often"} if again else {"slot_lost", "runner_lost"}
        if stage.tried_when_lost:
            found |= {"slot_lost", "runner_lost"}
        # One that begins with what another job left finds it gone, whatever `on_lost` says.
        return found if self.shape.is_plain else found | {"workspace_lost"}

    def _may_be_cancelled(self) -> bool:
        return self.shape.cancel_after_s is not None or self.shape.cancels_running

    def _is_of_a_failed_group(self, stage: StageShape) -> bool:
        others = [one for other, one in told_of(self.shape, self.run) if other.group == stage.group]
        return stage.fail_fast and any(one["status"] in ("failed", "errored", "timed_out") for one in others)

    def _order(self, stage: StageShape, one: Told) -> None:
        """Nothing begins before all that it waits for have ended.

        Within a job that is the runner's doing, and the times in which control hears of it tell nothing.
        """
        if not one["attempts"]:
            return
        others = [each for each in self._before(stage) if each["job"] != one["job"]]
        if stage.is_last:
            others = [each for other, each in told_of(self.shape, self.run) if not other.is_last]
        for other in others:
            for attempt in other["attempts"]:
                if attempt["status"] != "lost" and attempt["ended_at"] > one["attempts"][0]["started_at"]:
                    self.wrong.append(f"stage {stage.key} began before {other['key']} had ended")

    def _abreast(self, told: list[tuple[StageShape, Told]]) -> None:
        for group in {stage.group for stage, _ in told if stage.max_parallel is not None}:
            most = next(stage.max_parallel for stage, _ in told if stage.group == group)
            spans = [
                (attempt["started_at"], attempt["ended_at"])
                for stage, one in told if stage.group == group
                for attempt in one["attempts"] if attempt["status"] != "lost"
            ]  # fmt: skip
            abreast = max((sum(a <= at < b for a, b in spans) for at, _ in spans), default=0)
            if most is not None and abreast > most:
                self.wrong.append(f"{abreast} of group {group} ran at once, at most {most} may")

    def _whole(self, told: list[Told]) -> None:
        """The run's end is that of its worst stage, and so is its reason."""
        ends = Counter(one["status"] for one in told)
        status, reason = self.run["status"], self.run["reason"]
        worst = next((end for end in _WORST_FIRST if ends[end]), "passed")
        right = {worst}
        if self._may_be_cancelled() and (ends["cancelled"] or worst == "timed_out"):
            right = {"errored" if ends["errored"] else "cancelled"} if self.run["cancelled_by"] else {worst}
        if status not in right:
            self.wrong.append(f"it ended {status}, reason {reason}, with stages {dict(ends)}")
        reasons = {one["reason"] for one in told if one["status"] == status}
        if status == "cancelled":
            reasons = {"cancelled_by"}
        if reason not in ({None} if status == "passed" else reasons):
            self.wrong.append(f"it ended {status}, reason {reason}; its stages have {sorted(map(str, reasons))}")

    def _heading(self) -> None:
        """What `finally` was told the run is heading for is how it ended."""
        last = [one for stage, one in told_of(self.shape, self.run) if stage.is_last]
        if not last or any(one["status"] != "passed" for one in last):
            return
        for said in self.run["summary"]:
            if said["markdown"].strip() != self.run["status"] and not self._may_be_cancelled():
                self.wrong.append(f"`finally` was told {said['markdown']}, and it ended {self.run['status']}")


def _is_well(one: Told) -> bool:
    return one["status"] in ("passed", "warned") or one["reason"] == "skipped_by_rule"
