"""Try a stage: ask its `when`, and run attempts of it until one is its last."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rivet.domain.isolation import is_below
from rivet.domain.order import Order, OrderedStage
from rivet.domain.record import RecordType
from rivet.domain.stage import after_attempt, is_begun_again
from rivet.domain.states import AttemptStatus, OnLost, Reason, StageStatus
from rivet.runner.ask_when import CannotAsk, ask_when
from rivet.runner.desk import Desk
from rivet.runner.folder import JobFolder
from rivet.runner.found import CannotKeep, FoundWorkspaces
from rivet.runner.journal import Journal
from rivet.runner.lease import is_still_ours
from rivet.runner.open_stage import make_child_ahead
from rivet.runner.perform import Outcome, perform

LOOK_S = 0.2

Marks = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a stage ended here. `alone`: cancelled, and not with its run; `by_rule`: its `when` said no.

    `again`: the job is to be begun again with this stage, so that nothing of it goes on now. `said` is the
    number of its last attempt, and how many lines the log of that has.
    """

    status: str
    outputs: Mapping[str, Any] = field(default_factory=dict)
    alone: bool = False
    by_rule: bool = False
    again: bool = False
    said: tuple[int, int] | None = None

    def told(self) -> dict[str, Any]:
        """For the mark on disk."""
        flags: dict[str, Any] = {name: True for name in ("alone", "by_rule", "again") if getattr(self, name)}
        if self.said is not None:
            flags["said"] = self.said
        return {"status": self.status, "outputs": self.outputs, **flags}


def attempt_number(stage: OrderedStage, marks: Marks) -> int:
    """Of the attempt to come: behind those that control knew, and those that have begun here since."""
    begun = [mark for mark in marks if mark["mark"] == "begin" and mark["stage"] == stage.key]
    return stage.next_attempt + len(begun)


@dataclass(frozen=True, slots=True)
class Attempts:
    """Of one stage; its journal says each."""

    order: Order
    stage: OrderedStage
    desk: Desk
    folder: JobFolder
    journal: Journal

    def run(self, marks: Marks) -> Ended | None:
        """None where the job is not ours any more."""
        outputs = dict(self.order.outputs)
        for mark in marks:
            outputs.update(mark.get("outputs", {}))
        number = attempt_number(self.stage, marks)
        if (trouble := self.folder.trouble()) is not None:
            return self._errored(number, trouble, Reason.WORKSPACE_LOST)
        if is_below(self.desk.isolation, self.order.isolation):
            return self._errored(
                number,
                f'the pipeline accepts no isolation below "{self.order.isolation}", and this runner has '
                f'"{self.desk.isolation}": give the pipeline a queue whose runners have it',
            )
        if self.stage.has_when and number == 1:
            ended = self._asked(outputs, number)
            if ended is not None:
                return ended
        waits, said = any(mark["mark"] == "again" for mark in self._mine(marks)), None
        while True:
            if waits and self.stage.retry.gives_slot_back(number):
                return Ended(StageStatus.PENDING, again=True, said=said)
            if waits and not self._wait(number):
                return self._cancelled()
            outcome = self._attempt(number, outputs, self._found(again=waits or self._has_begun(marks)))
            if outcome.status is None:
                return None
            after = self._after(outcome, number)
            said = (number, outcome.lines)
            if after is not StageStatus.PENDING:
                lost = outcome.status is AttemptStatus.LOST
                if not lost and not self.desk.kept_bytes:
                    self._founds.forget(self.stage.key)
                status = AttemptStatus.LOST if lost else after
                again = lost and is_begun_again(self.stage, number, self.order.on_lost)
                return Ended(status, outcome.outputs, outcome.alone, again=again, said=said)
            self.journal.send()
            self.folder.mark(self.order.epoch, "again", self.stage.key, attempt=number)
            number, waits = number + 1, True

    def _mine(self, marks: Marks) -> Marks:
        return [mark for mark in marks if mark["stage"] == self.stage.key]

    def _has_begun(self, marks: Marks) -> bool:
        return any(mark["mark"] == "begin" for mark in self._mine(marks))

    @property
    def _founds(self) -> FoundWorkspaces:
        return FoundWorkspaces(self.folder.path)

    def _found(self, *, again: bool) -> str | None:
        """How the stage finds its workspace, where that is kept; `again`: it is brought back to it first.

        The first stage of a job finds what the job starts from, which others have.
        """
        is_needed = self._may_be_tried_again()
        is_first = self.order.stages[0].key == self.stage.key
        begins_with = None if self.order.start is None else self.order.start.found_by
        if not is_needed and (not self.desk.kept_bytes or (is_first and begins_with is None)):
            return None
        try:
            if again:
                self._founds.bring_back(
                    self.stage.key, self.folder.workspace, self.desk.uids.of(self.folder.path)
                )
            return self._founds.note(
                self.stage.key, self.folder.workspace, is_needed=is_needed, most_bytes=self.desk.kept_bytes
            )
        except (CannotKeep, OSError) as error:
            why = f"workspace: how this stage finds it cannot be kept for another attempt or a rerun: {error}"
            self.folder.note_said("warn", why)
            return None

    def _may_be_tried_again(self) -> bool:
        """Whether somebody may have to start again from the workspace as it is now, or as it was then."""
        return self.stage.retry.attempts > 1 or self.order.on_lost is OnLost.RESTART

    def _after(self, outcome: Outcome, number: int) -> StageStatus:
        status = AttemptStatus(outcome.status or AttemptStatus.ERRORED)
        return after_attempt(status, number, outcome.reason, outcome.exit_code, self.stage)

    def _asked(self, outputs: Mapping[str, Any], number: int) -> Ended | None:
        """None where the stage is to run."""
        try:
            is_to_run, values = ask_when(self.order, self.stage, self.desk, outputs)
        except CannotAsk as error:
            return self._failed(number, error)
        if is_to_run:
            return None
        told = {"reason": Reason.SKIPPED_BY_RULE, "values": values}
        self.journal.record(RecordType.STAGE_SKIPPED, stage=self.stage.key, data=told)
        return Ended(StageStatus.SKIPPED, by_rule=True)

    def _failed(self, number: int, error: CannotAsk) -> Ended:
        self.journal.record(RecordType.ATTEMPT_STARTED, stage=self.stage.key, attempt=number)
        told = {"message": str(error), "file": "rivet.lua", "line": error.line}
        ended = {"status": AttemptStatus.FAILED, "reason": None, "exit_code": None, "error": told}
        self.journal.record(RecordType.ATTEMPT_ENDED, stage=self.stage.key, attempt=number, data=ended)
        return Ended(self._after(Outcome(AttemptStatus.FAILED), self.stage.retry.attempts))

    def _errored(self, number: int, why: str, reason: Reason | None = None) -> Ended:
        self.journal.record(RecordType.ATTEMPT_STARTED, stage=self.stage.key, attempt=number)
        told = {"message": why, "file": None, "line": None}
        ended = {"status": AttemptStatus.ERRORED, "reason": reason, "error": told}
        self.journal.record(RecordType.ATTEMPT_ENDED, stage=self.stage.key, attempt=number, data=ended)
        return Ended(StageStatus.ERRORED)

    def _attempt(self, number: int, outputs: Mapping[str, Any], found: str | None) -> Outcome:
        if not is_still_ours(self.order, self.folder, self.desk):
            return Outcome(None)
        make_child_ahead(self.order, self.desk)
        self.folder.mark(self.order.epoch, "begin", self.stage.key, attempt=number, sync=True)
        told = {} if found is None else {"workspace": found}
        self.journal.record(
            RecordType.ATTEMPT_STARTED, stage=self.stage.key, attempt=number, data=told, later=True
        )
        return perform(
            self.order, self.stage, number, self.desk, self.folder, self.journal, outputs=outputs,
            left_s=self._left_s(),
        )  # fmt: skip

    def _left_s(self) -> float:
        return self.order.timeout_left_s - (time.time() - self.folder.claimed_at(self.order.epoch))

    def _wait(self, number: int) -> bool:
        """Before a retry: the delay, in which the slot is kept. False where the stage was cancelled."""
        until = time.monotonic() + min(self.stage.retry.delay_before(number), max(self._left_s(), 0.0))
        while time.monotonic() < until:
            if self.desk.stream_says_cancelled(self.order.job, self.order.epoch, self.stage.key) is not None:
                return False
            is_still_ours(self.order, self.folder, self.desk)
            time.sleep(LOOK_S)
        return True

    def _cancelled(self) -> Ended:
        """The attempt before has been recorded, and the stage waits for the next one: it ends here."""
        scope = self.desk.stream_says_cancelled(self.order.job, self.order.epoch, self.stage.key)
        told = {"reason": Reason.CANCELLED_BY}
        self.journal.record(RecordType.STAGE_SKIPPED, stage=self.stage.key, data=told)
        return Ended(StageStatus.CANCELLED, alone=scope == "stage")
