"""Run one stage of a job: the recipe, from the message to its result.

A user's failure is a result, never an exception. What is delivered twice is answered from the marks.
"""

import contextlib
import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rivet.domain.ids import Epoch, JobId, StageKey
from rivet.domain.order import HandsOn, Order, OrderedStage
from rivet.domain.record import RecordType
from rivet.domain.stage import after_attempt, is_begun_again
from rivet.domain.states import FINISHED_STAGE, AttemptStatus, Reason, StageStatus
from rivet.journal.spool import Spool, read_spool
from rivet.runner.attempts import Attempts, Ended, attempt_number
from rivet.runner.desk import Desk
from rivet.runner.folder import Busy, JobFolder
from rivet.runner.found import EMPTY, KEPT, FoundWorkspaces
from rivet.runner.journal import Journal
from rivet.runner.log_writer import LogWriter
from rivet.runner.travel import store_workspace
from rivet.runner.tree import is_empty
from rivet.runner.workspaces import note_end

_log = logging.getLogger(__name__)

MAX_SAID_BYTES = 64 * 1024

Result = dict[str, Any]
_GOES_ON = (StageStatus.PASSED, StageStatus.WARNED)


def run_stage(job: JobId, epoch: Epoch, key: StageKey, desk: Desk) -> Result | None:
    """`{status, last_seq}` of the stage, or None where this delivery is to be ignored."""
    folder = desk.folder(job)
    try:
        with folder.hold():
            order = folder.order(epoch)
            if order is None or folder.is_outdated(epoch):
                return None
            return _Work(order, order.stage(key), desk, folder).result()
    except Busy:
        _log.info("stage %s of job %s is being worked on by another process", key, job)
    except FileNotFoundError:
        _log.info("job %s is no longer here", job)
    return None


@dataclass(frozen=True, slots=True)
class _Work:
    order: Order
    stage: OrderedStage
    desk: Desk
    folder: JobFolder

    def result(self) -> Result | None:
        marks = self.folder.marks(self.order.epoch)
        last = next((mark for mark in reversed(marks) if mark["mark"] == "end"), None)
        spool = Spool(
            self.folder.spool(self.order.epoch),
            offset=last["offset"] if last else 0,
            seq=last["seq"] if last else 0,
        )
        with (
            contextlib.closing(spool),
            Journal(self.order.job, self.order.epoch, spool, self.desk.stream) as journal,
        ):
            stored = self._stored(marks)
            if stored is None:
                return self._new(marks, spool, journal)
            if self._has_begun(marks, self._successor()):
                return None
            self._close_job(stored, spool, journal)
            return {"status": stored["status"], "last_seq": spool.last_seq}

    def _new(self, marks: list[dict[str, Any]], spool: Spool, journal: Journal) -> Result | None:
        """The stage has no end on disk: run it, skip it, or find that its attempt was lost."""
        status, reason = self._outcome_before(marks)
        ended: Ended | None = None
        if self._is_in_an_attempt(marks):
            ended = self._lost(marks, spool, journal)
            marks = self.folder.marks(self.order.epoch)
        elif reason is not None:
            journal.record(RecordType.STAGE_SKIPPED, stage=self.stage.key, data={"reason": reason})
            alone = reason is Reason.CANCELLED_BY and self._is_cancelled_alone()
            ended = Ended(status, alone=alone)
        if ended is None:
            ended = Attempts(self.order, self.stage, self.desk, self.folder, journal).run(marks)
        if ended is None:
            return None
        told = {**ended.told(), "seq": spool.last_seq, "offset": spool.size}
        self.folder.mark(self.order.epoch, "end", self.stage.key, **told)
        self._close_job(told, spool, journal)
        return {"status": ended.status, "last_seq": spool.last_seq}

    def _is_in_an_attempt(self, marks: list[dict[str, Any]]) -> bool:
        """Whether the last attempt that has begun here has not ended: its process is dead."""
        mine = [mark["mark"] for mark in marks if mark["stage"] == self.stage.key]
        return bool(mine) and mine[-1] == "begin"

    def _lost(self, marks: list[dict[str, Any]], spool: Spool, journal: Journal) -> Ended | None:
        """Its process is dead, and its room with it. Its end, and what it set, may be in the spool.

        None where the attempt had ended in such a way that the stage is tried again.
        """
        number = attempt_number(self.stage, marks) - 1
        offset = next((mark["offset"] for mark in reversed(marks) if mark["mark"] == "end"), 0)
        said, end, outputs = False, None, dict[str, Any]()
        for record, _ in read_spool(self.folder.spool(self.order.epoch), offset=offset):
            if record.stage != self.stage.key or record.attempt != number:
                continue
            said = True
            if record.type is RecordType.OUTPUT:
                outputs[record.data["name"]] = record.data["value"]
            elif record.type is RecordType.ATTEMPT_ENDED:
                end = record.data
        if end is not None:
            return self._ended(end, number, outputs)
        if not said:
            # It died between its begin mark and its first record.
            journal.record(RecordType.ATTEMPT_STARTED, stage=self.stage.key, attempt=number)
        journal.record(
            RecordType.ATTEMPT_ENDED,
            stage=self.stage.key,
            attempt=number,
            data={"status": AttemptStatus.LOST, "reason": Reason.SLOT_LOST},
        )
        return self._lost_end(number)

    def _lost_end(self, number: int, **told: Any) -> Ended:
        return Ended(AttemptStatus.LOST, again=is_begun_again(self.stage, number, self.order.on_lost), **told)

    def _ended(self, end: Mapping[str, Any], number: int, outputs: Mapping[str, Any]) -> Ended | None:
        """What the record of an attempt's end makes of the stage; its process died before it could say so."""
        status = AttemptStatus(end["status"])
        reason = None if end.get("reason") is None else Reason(end["reason"])
        after = after_attempt(status, number, reason, end.get("exit_code"), self.stage)
        if after is StageStatus.PENDING:
            self.folder.mark(self.order.epoch, "again", self.stage.key, attempt=number)
            return None
        said = (number, int(end.get("lines", 0)))
        if status is AttemptStatus.LOST:
            return self._lost_end(number, outputs=outputs, said=said)
        return Ended(after, outputs, said=said)

    def _outcome_before(self, marks: list[dict[str, Any]]) -> tuple[str, Reason | None]:
        """What this stage becomes without running, because of what ended before it in this job."""
        ends = [mark for mark in marks if mark["mark"] == "end"]
        if any(mark["status"] == StageStatus.CANCELLED and not mark.get("alone") for mark in ends):
            return StageStatus.CANCELLED, Reason.CANCELLED_BY
        if any(mark["status"] not in _GOES_ON and not mark.get("by_rule") for mark in ends):
            return StageStatus.SKIPPED, Reason.EARLIER_FAILURE
        if self.desk.stream_says_cancelled(self.order.job, self.order.epoch, self.stage.key) is not None:
            return StageStatus.CANCELLED, Reason.CANCELLED_BY
        return StageStatus.PENDING, None

    def _is_cancelled_alone(self) -> bool:
        return self.desk.stream_says_cancelled(self.order.job, self.order.epoch, self.stage.key) == "stage"

    def _close_job(self, told: dict[str, Any], spool: Spool, journal: Journal) -> None:
        """Write the journal's last record: after the last stage, or where the job is to be begun again."""
        again = bool(told.get("again"))
        if self._successor() is not None and not again:
            return
        if not spool.tail or spool.tail[-1].type is not RecordType.JOB_DONE:
            if self.order.hands_on is HandsOn.STORED:
                self._store_workspace(spool, journal)
            journal.record(RecordType.JOB_DONE, data={"again": True} if again else self._left())
            if self.order.hands_on is not HandsOn.NOTHING or FoundWorkspaces(self.folder.path).is_there:
                note_end(self.folder)

    def _left(self) -> dict[str, Any]:
        """What the job leaves for those that go on from it, also in reruns."""
        if self.order.hands_on is HandsOn.NOTHING or not self.folder.workspace.is_dir():
            return {}
        return {"workspace": EMPTY if is_empty(self.folder.workspace) else KEPT}

    def _store_workspace(self, spool: Spool, journal: Journal) -> None:
        """Where all has gone well; the log of the last attempt says what became of it."""
        journal.send()  # it may take long
        ends = [mark for mark in self.folder.marks(self.order.epoch) if mark["mark"] == "end"]
        if not all(mark["status"] in _GOES_ON or mark.get("by_rule") for mark in ends):
            return
        last = next((mark for mark in reversed(ends) if "said" in mark), None)
        if last is None:
            store_workspace(self.order, self.stage.key, self.desk, self.folder, _say_aside)
            return
        attempt, lines = last["said"]
        tail = spool.tail[-1] if spool.tail else None
        said_before = (RecordType.LOG, last["stage"], attempt)
        if tail is not None and (tail.type, tail.stage, tail.attempt) == said_before:
            # By a process that is dead by now.
            lines = max(lines, int(tail.data["first"]) - 1 + int(tail.data["count"]))
        with LogWriter(journal, StageKey(last["stage"]), attempt, MAX_SAID_BYTES, lines_before=lines) as log:
            say = functools.partial(log.say, stream="rivet")
            store_workspace(self.order, self.stage.key, self.desk, self.folder, say)

    def _stored(self, marks: list[dict[str, Any]]) -> dict[str, Any] | None:
        """The end of this stage; after one with which the job is begun again, that one's stands for all."""
        for mark in marks:
            if mark["mark"] != "end":
                continue
            if mark["stage"] == self.stage.key or mark.get("again"):
                return mark
        return None

    def _successor(self) -> OrderedStage | None:
        rest = [stage for stage in self.order.stages if StageStatus(stage.status) not in FINISHED_STAGE]
        at = next((place for place, stage in enumerate(rest) if stage.key == self.stage.key), len(rest))
        return rest[at + 1] if at + 1 < len(rest) else None

    def _has_begun(self, marks: list[dict[str, Any]], stage: OrderedStage | StageKey | None) -> bool:
        key = stage.key if isinstance(stage, OrderedStage) else stage
        return any(mark["mark"] == "begin" and mark["stage"] == key for mark in marks)


def _say_aside(level: str, text: str) -> None:
    """Nothing of the job has a log: the runner's own says it."""
    _log.log(logging.WARNING if level == "warn" else logging.INFO, "%s", text)
