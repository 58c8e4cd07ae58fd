"""The verdict on ends: what is right passes, and each thing that is wrong is found."""

import copy
import random
from typing import Any

import pytest

from .ends import overlaps, wrong_ends
from .flows import flows
from .shapes import ALWAYS, Shape, StageShape

A = StageShape("a", True, 3, 0.0, 1, None)


def shape(*stages: StageShape, **more: Any) -> Shape:
    return Shape("s", more.pop("on_lost", "error"), stages, listed=more.pop("listed", "graph"), **more)


def at(second: int) -> str:
    return f"2026-01-01T00:00:{second:02}.000001Z"


def stage(key: str, status: str, *attempts: str, reason: str | None = None, begin: int = 0) -> dict[str, Any]:
    """Each attempt takes a second."""
    tried = [
        {"number": n, "status": one, "runner": "r", "started_at": at(begin + n - 1), "ended_at": at(begin + n)}
        for n, one in enumerate(attempts, 1)
    ]
    return {"key": key, "status": status, "reason": reason, "attempts": tried, "job": key, "runner": "r"}


def run(status: str, *stages: dict[str, Any], reason: str | None = None, **more: Any) -> dict[str, Any]:
    told = {"id": "1", "status": status, "reason": reason, "stages": list(stages), "cancelled_by": None, "summary": []}
    return told | more


def wrong(of: Shape, told: dict[str, Any], *, blamed: bool = False) -> str:
    return "; ".join(line for kind in wrong_ends(of, told, blamed=blamed, hit="nothing") for line in kind)


B = StageShape("b", True, 3, 0.0, 1, None, waits=("a",))
LEFT = StageShape("left", True, 3, 0.0, 1, None, waits=("a",), group="p", fail_fast=True)
RIGHT = StageShape("right", True, 3, 0.0, 1, None, waits=("a",), group="p", fail_fast=True)
AFTER = StageShape("after", True, 3, 0.0, 1, None, waits=("a", "left", "right"))
FAILS = StageShape("a", True, 3, 0.0, 1, None, fails=ALWAYS)
RETRIED = StageShape("a", True, 3, 0.0, 1, None, fails=1, tries=3)
WARNS = StageShape("a", True, 3, 0.0, 1, None, fails=ALWAYS, warns=True)
SKIPS = StageShape("a", True, 3, 0.0, 1, None, skips=True)
ENDLESS = StageShape("a", True, 3, 0.0, 1, None, timeout_s=1.0)
ASKS = StageShape("a", False, 0, 0.0, 1, None, answer="approve", has_script=False)
REJECTED = StageShape("a", False, 0, 0.0, 1, None, answer="reject", has_script=False)
LAST = StageShape("z", False, 3, 0.0, 1, None, is_last=True)
COPIES = tuple(StageShape(f"m.{n}", False, 1, 0.0, 1, None, waits=("a",), group="m", max_parallel=1) for n in (1, 2))

PASSED, SKIPPED = stage("a", "passed", "passed"), stage("b", "skipped", reason="earlier_failure")
B_PASSED = stage("b", "passed", "passed", begin=5)
FAILED = stage("a", "failed", "failed")
COPIES_PASSED = (stage("m.1", "passed", "passed", begin=2), stage("m.2", "passed", "passed", begin=4))

RIGHT_ENDS = {
    "a chain": (shape(A, B), run("passed", PASSED, B_PASSED)),
    "a failure": (shape(FAILS, B), run("failed", FAILED, SKIPPED)),
    "a retry": (shape(RETRIED), run("passed", stage("a", "passed", "failed", "passed", reason="passed_on_retry"))),
    "a warning": (shape(WARNS, B), run("passed", stage("a", "warned", "failed"), B_PASSED)),
    "a rule": (shape(SKIPS, B), run("passed", stage("a", "skipped", reason="skipped_by_rule"), B_PASSED)),
    "a timeout": (
        shape(ENDLESS, B),
        run("timed_out", stage("a", "timed_out", "timed_out", reason="limit_stage_time"), SKIPPED,
            reason="limit_stage_time"),
    ),
    "an approval": (shape(ASKS, B), run("passed", stage("a", "passed"), B_PASSED)),
    "a rejection": (
        shape(REJECTED, B), run("failed", stage("a", "failed", reason="rejected"), SKIPPED, reason="rejected")
    ),
    "copies one at a time": (shape(A, *COPIES), run("passed", PASSED, *COPIES_PASSED)),
    "copies that were never made": (
        shape(FAILS, *COPIES), run("failed", FAILED, stage("m", "skipped", reason="earlier_failure"))
    ),
    "a cancelled run whose `finally` had its turn": (
        shape(A, B, LAST, cancel_after_s=1.0),
        run("cancelled", stage("a", "cancelled", "cancelled", reason="cancelled_by"),
            stage("b", "cancelled", reason="cancelled_by"), stage("z", "passed", "passed", begin=9),
            reason="cancelled_by", cancelled_by="Alice"),
    ),
    "members that were stopped when one failed": (
        shape(A, LEFT, StageShape("right", True, 3, 0.0, 1, None, waits=("a",), group="p", fails=ALWAYS), AFTER),
        run("failed", PASSED, stage("left", "cancelled", "cancelled", reason="cancelled_by", begin=2),
            stage("right", "failed", "failed", begin=2), stage("after", "skipped", reason="earlier_failure")),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT_ENDS)
def test_a_right_end_is_found_right(name):
    assert wrong(*RIGHT_ENDS[name]) == ""


LOST = stage("a", "errored", "lost", reason="slot_lost")

WRONG_ENDS = {
    "though hit were only": (shape(A, B), run("errored", LOST, SKIPPED, reason="slot_lost")),
    "was begun though": (shape(FAILS, B), run("failed", FAILED, B_PASSED)),
    "though nothing before it": (shape(A, B), run("passed", PASSED, SKIPPED)),
    "it was meant to end as": (shape(A), run("failed", FAILED)),
    "number 2 was meant to be passed": (
        shape(RETRIED), run("failed", stage("a", "failed", "failed", "failed", "failed"))
    ),
    "after 1 of 3 attempts": (shape(RETRIED), run("failed", FAILED)),
    "begun again after": (shape(A), run("passed", stage("a", "passed", "lost", "passed", reason="passed_on_retry"))),
    "nobody cancelled": (
        shape(A), run("cancelled", stage("a", "cancelled", "cancelled", reason="cancelled_by"), reason="cancelled_by")
    ),
    "to have its turn": (
        shape(A, LAST, cancel_after_s=1.0),
        run("cancelled", PASSED, stage("z", "cancelled", reason="cancelled_by"), reason="cancelled_by",
            cancelled_by="Alice"),
    ),
    "began before": (shape(A, B), run("passed", PASSED, stage("b", "passed", "passed", begin=0))),
    "ran at once": (
        shape(A, *COPIES),
        run("passed", PASSED, stage("m.1", "passed", "passed", begin=2), stage("m.2", "passed", "passed", begin=2)),
    ),
    "it ended passed": (shape(FAILS, B), run("passed", FAILED, SKIPPED)),
    "it ended failed, reason expired": (shape(FAILS, B), run("failed", FAILED, SKIPPED, reason="expired")),
    "`finally` was told failed": (
        shape(A, LAST),
        run("passed", PASSED, stage("z", "passed", "passed", begin=5),
            summary=[{"stage": "z", "markdown": "failed"}]),
    ),
    "at the run's end": (shape(A, B), run("passed", PASSED, stage("b", "running", "running", begin=5))),
    "is missing": (shape(A, B), run("passed", PASSED)),
    "with attempts []": (shape(A), run("passed", stage("a", "passed"))),
}  # fmt: skip


@pytest.mark.parametrize("words", WRONG_ENDS)
def test_a_wrong_end_is_found(words):
    assert words in wrong(*WRONG_ENDS[words])


def test_a_loss_is_right_where_something_was_taken_from_the_run():
    lost = run("errored", LOST, SKIPPED, reason="slot_lost")
    assert wrong(shape(A, B), lost, blamed=True) == ""
    assert "slot_lost" in wrong(shape(A, B, on_lost="restart"), lost, blamed=True)


def test_runs_that_take_turns_are_found_out_if_they_overlap():
    one = run("passed", PASSED, created_at=at(0), started_at=at(1), ended_at=at(5))
    two = copy.deepcopy(one) | {"id": "2", "created_at": at(1), "started_at": at(5), "ended_at": at(9)}
    turns = shape(A, turn="g")
    assert overlaps([(turns, one), (turns, two)]) == []
    assert overlaps([(turns, one), (shape(A), two | {"started_at": at(2)})]) == []
    assert "run 2 started" in overlaps([(turns, one), (turns, two | {"started_at": at(4)})])[0]


def test_all_kinds_of_stages_come_up_within_a_few_rounds():
    made = [one for seed in range(20) for flow in flows(random.Random(seed)) for one in flow.stages]
    assert {one.answer for one in made} == {None, "approve", "reject", "expire"}
    assert {one.group for one in made} == {None, "p", "m", "dyn"}
    for told in ("fail_fast", "max_parallel", "is_last", "queue", "warns", "skips", "tried_when_lost", "timeout_s"):
        assert any(getattr(one, told) for one in made), told
