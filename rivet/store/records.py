"""A run's one order: every record gets the run's next position, under the lock of its clock.

What a transaction appends is kept and written at its end: one statement for the clock and one for all rows
of a run, and the clock is locked for as short a time as can be.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, func, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from rivet.domain.ids import Epoch, JobId, RunId, StageKey
from rivet.domain.record import ControlEvent, Record, RecordType
from rivet.engine.ports import Committed, Entry, NotedWorkspace
from rivet.store.plain_json import storable
from rivet.store.tables import RECORD, RUN_CLOCK

_MAX_STAGE_KEY = 200  # what is longer is no key of ours, and would not fit an index
_MAX_BIGINT = 2**63 - 1
MOST_LINES = 2**31
"""That one transaction adds to a run; what a runner counts is bounded before it is added up."""

_TAKE = (
    update(RUN_CLOCK)
    .where(RUN_CLOCK.c.run_id == bindparam("run"))
    .values(pos=RUN_CLOCK.c.pos + bindparam("count"), lines=RUN_CLOCK.c.lines + bindparam("more"))
    .returning(RUN_CLOCK.c.pos, func.now().label("now"))
)
_WORKSPACES = text(
    """
    SELECT job_id, epoch, stage, data FROM record
    WHERE run_id = :run AND type IN ('attempt_started', 'job_done') AND data ->> 'workspace' IS NOT NULL
    ORDER BY pos
    """
)
_APPEND = upsert(RECORD).on_conflict_do_nothing(index_elements=["run_id", "job_id", "epoch", "seq"])
_APPEND_AND_SAY = _APPEND.returning(RECORD.c.pos)

Appended = Record | tuple[ControlEvent, Mapping[str, Any]]


class PostgresRecords:
    def __init__(self, connection: Connection, committed: Committed) -> None:
        self._connection = connection
        self._committed = committed
        self._kept: dict[RunId, list[tuple[Appended, bool]]] = {}

    def append(self, run: RunId, entries: Sequence[Appended], *, late: bool = False) -> None:
        self._kept.setdefault(run, []).extend((entry, late) for entry in entries)

    def workspaces(self, run: RunId) -> Sequence[NotedWorkspace]:
        return [
            NotedWorkspace(JobId(row.job_id), Epoch(row.epoch), row.stage, str(row.data["workspace"]))
            for row in self._connection.execute(_WORKSPACES, {"run": run})
        ]

    def write(self) -> None:
        """What was appended, before the commit. Raises LookupError if there is no such run."""
        kept, self._kept = self._kept, {}
        for run in sorted(kept):
            self._write(run, kept[run])

    def _write(self, run: RunId, entries: Sequence[tuple[Appended, bool]]) -> None:
        lines = sum(_lines_of(entry) for entry, late in entries if not late)
        told = {"run": run, "count": len(entries), "more": min(lines, MOST_LINES)}
        taken = self._connection.execute(_TAKE, told).one_or_none()
        if taken is None:
            raise LookupError(f"run {run} has no clock")
        first = int(taken.pos) - len(entries) + 1
        placed = [
            self._placed(run, pos, entry, late, taken.now) for pos, (entry, late) in enumerate(entries, first)
        ]
        rows = [_row(entry) for entry in placed]
        if any(entry.seq is not None for entry in placed):
            stored = set(self._connection.execute(_APPEND_AND_SAY, rows).scalars())
            placed = [entry for entry in placed if entry.pos in stored]
        elif rows:
            self._connection.execute(_APPEND, rows)
        self._committed.entries.extend(placed)

    @staticmethod
    def _placed(run: RunId, pos: int, entry: Appended, late: bool, now: datetime) -> Entry:
        if isinstance(entry, Record):
            return Entry(
                run_id=run,
                pos=pos,
                type=entry.type.value,
                at=iso(_time_of(entry, now)),
                job_id=entry.job,
                epoch=entry.epoch,
                seq=entry.seq,
                stage=None if entry.stage is None else StageKey(storable(entry.stage[:_MAX_STAGE_KEY])),
                attempt=entry.attempt,
                late=late,
                data=entry.data,
                body=entry.body,
            )
        event, data = entry
        job = data.get("job")
        return Entry(
            run_id=run,
            pos=pos,
            type=event.value,
            at=iso(now),
            job_id=None if job is None else JobId(UUID(str(job))),
            epoch=None if data.get("epoch") is None else Epoch(int(data["epoch"])),
            stage=data.get("stage"),
            data=data,
        )


def _time_of(record: Record, now: datetime) -> datetime:
    """The runner's clock as it said; ours where what it said is no time."""
    try:
        at = datetime.fromisoformat(record.at)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return now


def _lines_of(entry: Appended) -> int:
    """What a chunk of the log adds to the run's lines."""
    if not isinstance(entry, Record) or entry.type is not RecordType.LOG:
        return 0
    return _whole(entry.data.get("count"), 2**31 - 1) or 0


def iso(at: datetime) -> str:
    """A time as all of Rivet writes it: UTC, microseconds, `Z`."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _row(entry: Entry) -> dict[str, Any]:
    is_log = entry.type == RecordType.LOG.value
    return {
        "run_id": entry.run_id,
        "pos": entry.pos,
        "type": entry.type,
        "at": entry.at,
        "job_id": entry.job_id,
        "epoch": entry.epoch,
        "seq": entry.seq,
        "stage": entry.stage,
        "attempt": entry.attempt,
        "late": entry.late,
        "first_line": _whole(entry.data.get("first"), _MAX_BIGINT) if is_log else None,
        "lines": _whole(entry.data.get("count"), 2**31 - 1) if is_log else None,
        "data": entry.data,
        "body": entry.body,
    }


def _whole(value: object, most: int) -> int | None:
    """None where a chunk's header does not say it: such a chunk is kept, and shows as damaged."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= most else None
