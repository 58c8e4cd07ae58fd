"""Journal records: what happened to a job, numbered without gaps, as bytes that survive a torn write."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from rivet.domain.errors import BadRecord
from rivet.domain.ids import Epoch, JobId, StageKey

VERSION = 1
MAX_HEADER_BYTES = 256 * 1024
MAX_BODY_BYTES = 1024 * 1024


class RecordType(StrEnum):
    JOB_CLAIMED = "job_claimed"  # {runner, isolation}
    STAGE_SKIPPED = "stage_skipped"  # {reason}
    ATTEMPT_STARTED = "attempt_started"
    LOG = "log"  # data is a chunk's header, body its packed lines (domain.log)
    OUTPUT = "output"  # {name, value}
    SUMMARY = "summary"  # {markdown}
    ANNOTATION = "annotation"  # {level, message, file, line} (domain.annotation)
    TESTS = "tests"  # {first, count}; body: packed JSON of cases (domain.report)
    COVERAGE = "coverage"  # {place, source, form, lines, covered}
    ATTEMPT_ENDED = "attempt_ended"  # {status, reason, exit_code, error, lines, bytes}
    JOB_DONE = "job_done"  # {last_seq}: always the last
    UNREADABLE = "unreadable"  # stands for one that control could not take: {why}


class ControlEvent(StrEnum):
    """Control's own entries in a run's one order; they have a position but no seq."""

    RUN_CREATED = "run_created"
    JOB_QUEUED = "job_queued"
    JOB_STARTED = "job_started"
    JOB_LOST = "job_lost"
    CANCEL_ASKED = "cancel_asked"
    SECRET_USED = "secret_used"  # noqa: S105 - {job, epoch, stage, name}: its value went to the runner
    MATRIX_EXPANDED = "matrix_expanded"
    APPROVAL_ASKED = "approval_asked"
    APPROVED = "approved"
    REJECTED = "rejected"
    BEGUN_AGAIN = "begun_again"  # {job, stage, actor}: by a person, within a run that goes on
    JOB_ENDED = "job_ended"
    RUN_ENDED = "run_ended"


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that happened on a runner.

    `seq` counts per (job, epoch) from 1; `at` is the runner's clock, ISO 8601 with `Z`.
    """

    job: JobId
    epoch: Epoch
    seq: int
    at: str
    type: RecordType
    stage: StageKey | None = None
    attempt: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    body: bytes = b""


def pack(record: Record) -> bytes:
    """A record as bytes: four bytes of the header's length, the header as JSON, then the body."""
    header = json.dumps(
        {
            "v": VERSION,
            "job": str(record.job),
            "epoch": record.epoch,
            "seq": record.seq,
            "at": record.at,
            "type": record.type,
            "stage": record.stage,
            "attempt": record.attempt,
            "data": record.data,
        },
        separators=(",", ":"),
        ensure_ascii=True,
    ).encode()
    if len(header) > MAX_HEADER_BYTES or len(record.body) > MAX_BODY_BYTES:
        raise BadRecord(
            f"a record of {len(header)} + {len(record.body)} bytes is over the bound of "
            f"{MAX_HEADER_BYTES} + {MAX_BODY_BYTES}"
        )
    return len(header).to_bytes(4, "big") + header + record.body


def unpack(packed: bytes) -> Record:
    """The record in `packed`, believed no more than bytes from a stranger. Raises BadRecord."""
    length = int.from_bytes(packed[:4], "big")
    if len(packed) < 4 or length > MAX_HEADER_BYTES or len(packed) < 4 + length:
        raise BadRecord(f"a record of {len(packed)} bytes says that its header has {length}")
    body = packed[4 + length :]
    if len(body) > MAX_BODY_BYTES:
        raise BadRecord(f"a record's body of {len(body)} bytes is over the bound of {MAX_BODY_BYTES}")
    try:
        header = json.loads(packed[4 : 4 + length])
        if header["v"] != VERSION:
            raise BadRecord(f"record version {header['v']!r} is not known; this is version {VERSION}")
        return Record(
            job=JobId(UUID(header["job"])),
            epoch=Epoch(_whole(header["epoch"])),
            seq=_whole(header["seq"]),
            at=_text(header["at"]),
            type=RecordType(header["type"]),
            stage=None if header["stage"] is None else StageKey(_text(header["stage"])),
            attempt=None if header["attempt"] is None else _whole(header["attempt"]),
            data=_table(header["data"]),
            body=body,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadRecord(f"a record's header cannot be read: {type(error).__name__}") from error


def stand_in(packed: bytes, why: str) -> Record | None:
    """An `unreadable` record in the place of one that cannot be taken, so that what follows it can be.

    None where not even its job and number can be read: then nobody's journal waits for it.
    """
    length = int.from_bytes(packed[:4], "big")
    try:
        header = json.loads(packed[4 : 4 + min(length, MAX_HEADER_BYTES)])
        return unreadable(
            JobId(UUID(header["job"])), Epoch(_whole(header["epoch"])), _whole(header["seq"]), why
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def unreadable(job: JobId, epoch: Epoch, seq: int, why: str) -> Record:
    """What stands in a journal for the record of that number. When it was is not known."""
    return Record(job, epoch, seq, "", RecordType.UNREADABLE, data={"why": why[:500]})


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**53:
        raise ValueError("not a whole number from 1")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > 4096:
        raise ValueError("not a text of at most 4096 characters")
    return value


def _table(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("not a table")
    return value
