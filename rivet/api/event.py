"""Which event an entry of a run is, if any: at most one, so that ids can be positions."""

from typing import Any

from rivet.domain.errors import BadRecord
from rivet.domain.record import ControlEvent, RecordType
from rivet.domain.states import (
    AttemptStatus,
    JobStatus,
    Reason,
    RunStatus,
    StageStatus,
)
from rivet.engine.ports import Entry
from rivet.store.chunks import unpacked_chunk

Told = tuple[str, dict[str, Any]]


def event_of(entry: Entry) -> Told | None:
    """The event's type and data. That of `run_ended` is completed by who can read the run."""
    if entry.type == RecordType.LOG.value:
        return "log", _log(entry)
    if entry.type == ControlEvent.RUN_ENDED.value:
        return "end", {"lines": entry.data.get("lines", 0)}
    if entry.type == RecordType.ANNOTATION.value:
        return "annotation", {"stage": entry.stage, "attempt": entry.attempt, "at": entry.at, **entry.data}
    state = _state(entry)
    return None if state is None else ("state", {**state, "at": entry.at})


def _log(entry: Entry) -> dict[str, Any]:
    told: dict[str, Any] = {"stage": entry.stage, "attempt": entry.attempt}
    try:
        chunk = unpacked_chunk(entry.data, entry.body)
        told["first_line"] = chunk.first
        told["lines"] = [
            {"at": line.at, "stream": line.stream, "level": line.level, "text": line.text}
            for line in chunk.lines()
        ]
    except BadRecord as damage:
        text = f"[rivet: lines that cannot be read: {damage.message}]"
        told["first_line"] = entry.data.get("first", 1)
        told["lines"] = [{"at": entry.at, "stream": "rivet", "level": "error", "text": text}]
    if entry.late:
        told["late"] = True
    return told


def _state(entry: Entry) -> dict[str, Any] | None:
    data, reason = entry.data, entry.data.get("reason")
    job = {"job": str(entry.job_id), "epoch": entry.epoch}
    stage = {"stage": entry.stage, "attempt": entry.attempt}
    match entry.type:
        case ControlEvent.RUN_CREATED.value:
            return {"run": str(entry.run_id), "status": RunStatus.QUEUED, "reason": None}
        case ControlEvent.CANCEL_ASKED.value if entry.stage is None:
            return {
                "run": str(entry.run_id),
                "status": RunStatus.CANCELLING,
                "reason": Reason.CANCELLED_BY,
                "actor": data.get("actor"),
            }
        case ControlEvent.APPROVAL_ASKED.value:
            told = {"status": StageStatus.WAITING, "reason": Reason.APPROVAL, "message": data.get("message")}
            return stage | told
        case ControlEvent.APPROVED.value:
            return stage | {"status": StageStatus.PENDING, "reason": None, "approved_by": data.get("actor")}
        case ControlEvent.REJECTED.value:
            told = {"status": StageStatus.FAILED, "reason": Reason.REJECTED, "rejected_by": data.get("actor")}
            return stage | told | {"why": data.get("why")}
        case ControlEvent.BEGUN_AGAIN.value:
            told = {"status": StageStatus.PENDING, "reason": None, "begun_again_by": data.get("actor")}
            return stage | told
        case ControlEvent.JOB_QUEUED.value:
            return job | {"status": JobStatus.QUEUED, "reason": None, "queue": data.get("queue")}
        case ControlEvent.JOB_STARTED.value:
            return job | {"status": JobStatus.RUNNING, "reason": None, "runner": data.get("runner")}
        case ControlEvent.JOB_LOST.value:
            return job | {"status": JobStatus.LOST, "reason": reason}
        case ControlEvent.JOB_ENDED.value:
            return job | {"status": data.get("status"), "reason": reason}
        case RecordType.ATTEMPT_STARTED.value:
            return stage | {"status": AttemptStatus.RUNNING, "reason": None}
        case RecordType.ATTEMPT_ENDED.value:
            ended = {name: data.get(name) for name in ("exit_code", "error")}
            return stage | {"status": data.get("status"), "reason": reason} | ended
        case RecordType.STAGE_SKIPPED.value:
            cancelled = reason == Reason.CANCELLED_BY.value
            status = StageStatus.CANCELLED if cancelled else StageStatus.SKIPPED
            return {"stage": entry.stage, "status": status, "reason": reason}
    return None
