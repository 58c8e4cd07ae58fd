"""Perform one attempt: evaluate the file, check that it is the same definition, call the stage's script."""

import contextlib
import functools
import logging
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rivet.domain.isolation import warning
from rivet.domain.kept_rules import Kept, KeptArtifacts, kept_of
from rivet.domain.limits import OverLimit
from rivet.domain.log import encode_line
from rivet.domain.order import Order, OrderedStage
from rivet.domain.record import RecordType
from rivet.domain.states import AttemptStatus, Reason
from rivet.modules.contract import CallError
from rivet.runner.ask_cache_key import ask_cache_key
from rivet.runner.desk import Desk
from rivet.runner.folder import JobFolder
from rivet.runner.journal import Journal
from rivet.runner.late_artifacts import upload_late
from rivet.runner.lease import LeaseKeeper
from rivet.runner.log_writer import LogWriter
from rivet.runner.open_stage import OtherDefinition, open_stage, value_at
from rivet.runner.pace import Pace
from rivet.runner.plugin_calls import PluginCalls
from rivet.runner.room import RoomLost
from rivet.runner.stage_context import StageCalls, Stopped, monotonic_deadline
from rivet.runner.stage_keeps import StageKeeps
from rivet.runner.travel import KeepConflict, keep_files
from rivet.sandbox.lua import FILE, TOO_LARGE, LuaError, Refused, Script

_log = logging.getLogger(__name__)



@dataclass(slots=True)
class Outcome:
    """`status` is None where the attempt is not ours any more and nothing more may be said of it.

    `outputs` are what the stage set, `lines` how many its log has; `alone`: it was cancelled, and not with
    its run.
    """

    status: AttemptStatus | None
    reason: Reason | None = None
    exit_code: int | None = None
    error: Mapping[str, Any] | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict)
    alone: bool = False
    lines: int = 0


def perform(
    order: Order,
    stage: OrderedStage,
    number: int,
    desk: Desk,
    folder: JobFolder,
    journal: Journal,
    *,
    outputs: Mapping[str, Any],
    left_s: float,
) -> Outcome:
    """Run the attempt to its end and record it.

    `outputs` are those of earlier stages; `left_s` is what the run's timeout leaves, in seconds.
    """
    attempt = _Attempt(order, stage, number, desk, folder, journal, outputs, left_s)
    limits = desk.limits.lowered(order.limits)
    with LogWriter(journal, stage.key, number, limits.log_bytes, limits.log_lines) as log:
        for level, text in folder.said():
            log.say(level, text, stream="rivet")
        for text in desk.limits.not_granted(order.limits):
            log.say("warn", text, stream="rivet")
        if (loud := warning(desk.isolation)) is not None:
            log.say("warn", loud, stream="rivet")
        outcome = attempt.run(log)
        if outcome.error is not None:
            log.say("error", _with_place(outcome.error), stream="rivet")
    outcome.lines = log.lines
    if outcome.status is not None:
        journal.record(
            RecordType.ATTEMPT_ENDED,
            stage=stage.key,
            attempt=number,
            data={
                "status": outcome.status,
                "reason": outcome.reason,
                "exit_code": outcome.exit_code,
                "error": outcome.error,
                "lines": log.lines,
                "bytes": log.bytes,
            },
            later=True,
        )
    return outcome


class _Attempt:
    def __init__(
        self,
        order: Order,
        stage: OrderedStage,
        number: int,
        desk: Desk,
        folder: JobFolder,
        journal: Journal,
        outputs: Mapping[str, Any],
        left_s: float,
    ) -> None:
        self._outputs = outputs
        self._order, self._stage, self._number = order, stage, number
        self._desk, self._folder, self._journal = desk, folder, journal
        self._seconds = min(stage.timeout_s, left_s)
        self._limited_by_run = left_s < stage.timeout_s
        self._script: Script | None = None
        self._exit_code: int | None = None
        self._hinted: Reason | None = None
        self._calls: StageCalls | None = None
        self._artifacts: KeptArtifacts | None = None
        self._plugins = PluginCalls(desk.modules, journal.masker.mask_text)

    def run(self, log: LogWriter) -> Outcome:
        lease = LeaseKeeper(
            self._order,
            self._stage.key,
            self._number,
            self._desk,
            self._folder,
            monotonic_deadline(self._seconds),
            each_beat=self._ping,
            on_stop=self._on_stop,
        )
        calls = StageCalls(
            self._order, self._stage, self._number, self._desk, self._folder, self._journal, log,
            lease.stopped, lease.assure, lease.ask_ahead, self._outputs,
        )
        self._calls, self._log = calls, log
        self._pace = Pace(calls.limits.calls)
        with lease:
            with contextlib.closing(calls):
                error = self._ended(calls)
                if lease.stopped() is None and calls.over is not None:
                    error = _over(calls.over)
                outcome = self._outcome(lease.stopped(), error)
            upload_late(
                self._order, self._stage, self._number, self._desk, self._folder, self._artifacts,
                outcome.status, calls.tell,
            )  # fmt: skip
        if outcome.error is not None:
            message = self._journal.masker.mask_text(outcome.error["message"])
            outcome.error = {**outcome.error, "message": message}
        outcome.outputs = calls.new_outputs
        return outcome

    def _ended(self, calls: StageCalls) -> LuaError | Outcome | None:
        try:
            return self._execute(calls)
        except Stopped:
            return None
        except OverLimit as over:
            return _over(over)
        except RoomLost as lost:
            return _lost(calls.why_lost(lost))
        except Exception as broken:  # noqa: BLE001
            # Whatever breaks here is ours, not the user's: the attempt says so, and the chain goes on.
            trace = self._journal.masker.mask_text(traceback.format_exc())
            _log.error("attempt %d of stage %s broke\n%s", self._number, self._stage.key, trace)
            return Outcome(AttemptStatus.ERRORED, error=_told(f"Rivet itself failed: {broken}"))

    def _execute(self, calls: StageCalls) -> LuaError | Outcome | None:
        calls.secrets.mask_those_of_earlier_stages()
        calls.expect_room()
        try:
            script = open_stage(self._order, self._stage, self._number, self._desk, seconds=self._seconds + 1)
        except OtherDefinition as other:
            return Outcome(AttemptStatus.FAILED, Reason.DEFINITION_CHANGED, error=_told(str(other)))
        if isinstance(script, LuaError):
            return script
        self._script = script
        with contextlib.closing(script):
            kept = kept_of(value_at(script.table, self._stage.path))
            self._artifacts = kept.artifacts
            key = self._cache_key(kept, script, calls)
            if isinstance(key, LuaError):
                return key
            keeps = StageKeeps(kept, key, self._stage.key, calls)
            keeps.before()
            error = script.run(self._stage.path, functools.partial(self._call, calls))
        calls.measure()
        failure = keeps.after(passed=error is None)
        if failure is not None:
            return Outcome(AttemptStatus.FAILED, error=_told(failure))
        if error is None and self._stage.keep:
            try:
                keep_files(self._order, self._stage, self._desk, calls.bench, calls.go_on)
            except CallError as failed:
                reason = Reason.KEEP_CONFLICT if isinstance(failed, KeepConflict) else None
                return Outcome(AttemptStatus.FAILED, reason, error=_told(str(failed)))
        return error

    def _cache_key(self, kept: Kept, script: Script, calls: StageCalls) -> str | LuaError:
        """Evaluated once an attempt, before the script: what is saved has the key that was looked for."""
        if kept.cache is None:
            return ""
        if isinstance(kept.cache.key, str):
            return kept.cache.key
        asked = functools.partial(self._call, calls)
        key = ask_cache_key(script, self._stage.path, kept.cache.key, asked, FILE)
        if isinstance(key, str):
            calls.tell("info", f'the key of the cache is "{key}"')
        return key

    def _call(self, calls: StageCalls, module: str, function: str, args: list[Any]) -> Any:
        self._pace.step()
        if self._log.over is not None:
            raise self._log.over
        self._hinted = None
        try:
            if module in self._desk.modules.plugins:
                return self._journal.masker.mask_value(self._plugins.call(module, function, args, calls))
            return self._masked(self._desk.modules.call(module, function, args, calls))
        except CallError as error:
            if error.exit_code is not None:
                self._exit_code = error.exit_code
                self._hinted = calls.hinted
            raise Refused(self._journal.masker.mask_text(str(error))) from None

    def _masked(self, answer: Any) -> Any:
        """What comes back into a script. The names of a table's fields are ours, and stay."""
        mask = self._journal.masker.mask_value
        if isinstance(answer, dict):
            return {name: mask(value) for name, value in answer.items()}
        return mask(answer)

    def _ping(self) -> None:
        if self._calls is not None:
            self._calls.ping()

    def _on_stop(self, _reason: str) -> None:
        """A process is stopped with its grace by the room; a script that only computes is killed."""
        self._plugins.stop()
        if self._script is not None and not (self._calls and self._calls.in_process):
            self._script.kill()

    def _outcome(self, stopped: str | None, error: LuaError | Outcome | None) -> Outcome:
        if stopped == "fenced":
            return Outcome(None)
        if stopped in ("cancelled", "stage_cancelled"):
            alone = stopped == "stage_cancelled"
            return Outcome(AttemptStatus.CANCELLED, Reason.CANCELLED_BY, alone=alone)
        if stopped == "timed_out":
            whose = "run" if self._limited_by_run else f'stage "{self._stage.name}"'
            reason = Reason.LIMIT_RUN_TIME if self._limited_by_run else Reason.LIMIT_STAGE_TIME
            message = f"the {whose} ran out of its time: {self._seconds:g} s; `timeout` can allow more"
            return Outcome(AttemptStatus.TIMED_OUT, reason, error=_told(message))
        if isinstance(error, Outcome):
            return error
        if error is None:
            return Outcome(AttemptStatus.PASSED)
        return self._failed(error)

    def _failed(self, error: LuaError) -> Outcome:
        reasons = {"memory": Reason.LIMIT_MEMORY, "cpu": Reason.LIMIT_CPU, "wall": Reason.LIMIT_STAGE_TIME}
        told = _told(error.message, error.file, error.line)
        if error.kind == "crash":
            # A part of the slot is gone, as if all of it were.
            return Outcome(AttemptStatus.LOST, Reason.SLOT_LOST, error=told)
        if error.kind == "protocol":
            return Outcome(AttemptStatus.ERRORED, None, error=told)
        reason = reasons.get(error.kind)
        if error.kind == "error":
            reason = Reason.LIMIT_FRAME if TOO_LARGE in error.message else self._hinted
        return Outcome(AttemptStatus.FAILED, reason, self._exit_code, told)


def _over(over: OverLimit) -> Outcome:
    return Outcome(AttemptStatus.FAILED, over.reason, error=_told(str(over)))


def _lost(why: RoomLost | OverLimit) -> Outcome:
    if isinstance(why, OverLimit):
        return _over(why)
    return Outcome(AttemptStatus.LOST, Reason.SLOT_LOST, error=_told(str(why)))


def _with_place(error: Mapping[str, Any]) -> str:
    """`file:line: message`, as far as the place is known."""
    place = [str(error[part]) for part in ("file", "line") if error[part] is not None]
    return ": ".join([*([":".join(place)] if place else []), str(error["message"])])


def _told(message: str, file: str | None = None, line: int | None = None) -> dict[str, Any]:
    """An error for the record: every character of it can be stored and shown."""
    lines = [encode_line(part.encode()) for part in message.split("\n")]
    return {"message": "\n".join(lines)[:8192], "file": file, "line": line}
