"""A run's one order: every record gets the run's next position, under the lock of its clock.

What a transaction appends is kept and written at its end: one statement a run for its clock and all rows, and
the clock is locked for as short a time as can be.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, JSON, Connection, LargeBinary, bindparam, text

from rivet.domain.ids import Epoch, JobId, RunId, StageKey
from rivet.domain.record import ControlEvent, Record, RecordType
from rivet.engine.ports import Committed, Entry, NotedWorkspace
from rivet.store.plain_json import storable

_MAX_STAGE_KEY = 200  # what is longer is no key of ours, and would not fit an index
_MAX_BIGINT = 2**63 - 1
MOST_LINES = 2**31
"""That one transaction adds to a run; what a runner counts is bounded before it is added up."""

_WORKSPACES = text(
    """
    SELECT job_id, epoch, stage, data FROM record
    WHERE run_id = :run AND type IN ('attempt_started', 'job_done') AND data ->> 'workspace' IS NOT NULL
    ORDER BY pos
    """
)
_APPEND = text(
    """
    WITH taken AS (
        UPDATE run_clock SET pos = pos + :count, lines = lines + :more WHERE run_id = :run
        RETURNING pos - :count AS before, now() AS now
    ),
    stored AS (
        INSERT INTO record (run_id, pos, type, at, job_id, epoch, seq, stage, attempt, late,
                            first_line, lines, data, body)
        SELECT :run, taken.before + told.place, told.type, coalesce(told.at, taken.now), told.job_id,
               told.epoch, told.seq, told.stage, told.attempt, told.late, told.first_line, told.lines,
               told.data, coalesce(told.body, '')
        FROM taken, ROWS FROM (
            json_to_recordset(:rows) AS (
                type text, at timestamptz, job_id uuid, epoch integer, seq bigint, stage text, attempt bigint,
                late boolean, first_line bigint, lines integer, data json
            ),
            unnest(CAST(:bodies AS bytea[]))
        ) WITH ORDINALITY AS told (
            type, at, job_id, epoch, seq, stage, attempt, late, first_line, lines, data, body, place
        )
        ON CONFLICT (run_id, job_id, epoch, seq) DO NOTHING
        RETURNING pos
    )
    SELECT before, now, ARRAY(SELECT pos FROM stored) AS stored FROM taken
    """
).bindparams(bindparam("rows", type_=JSON), bindparam("bodies", type_=ARRAY(LargeBinary)))

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

    def write(self, before: RunId | None = None) -> None:
        """What was appended, before the commit; or that of runs before one whose clock is to be locked, for
        clocks are locked in order. Raises LookupError if there is no such run.
        """
        for run in sorted(self._kept):
            if before is None or run < before:
                self._write(run, self._kept.pop(run))

    def lines_of(self, run: RunId) -> int:
        """By how many lines of the log the run grows with what is not written yet."""
        return _lines_in(self._kept.get(run, ()))

    def _write(self, run: RunId, entries: Sequence[tuple[Appended, bool]]) -> None:
        rows = [_row(entry, late) for entry, late in entries]
        bodies = [entry.body if isinstance(entry, Record) else b"" for entry, _ in entries]
        told = {
            "run": run,
            "count": len(entries),
            "more": _lines_in(entries),
            "rows": rows,
            "bodies": bodies if any(bodies) else [],
        }
        taken = self._connection.execute(_APPEND, told).one_or_none()
        if taken is None:
            raise LookupError(f"run {run} has no clock")
        stored = set(taken.stored)
        placed = enumerate(zip(rows, bodies, strict=True), int(taken.before) + 1)
        self._committed.entries.extend(
            _entry(run, pos, row, body, taken.now) for pos, (row, body) in placed if pos in stored
        )


def _row(entry: Appended, late: bool) -> dict[str, Any]:
    """As it is stored, without its place and its body. Where `at` is None, the database's clock counts."""
    if not isinstance(entry, Record):
        event, data = entry
        job, epoch = data.get("job"), data.get("epoch")
        return {
            "type": event.value,
            "job_id": None if job is None else str(job),
            "epoch": None if epoch is None else int(epoch),
            "stage": data.get("stage"),
            "late": False,
            "data": data,
        }
    is_log = entry.type is RecordType.LOG
    return {
        "type": entry.type.value,
        "at": _time_of(entry),
        "job_id": str(entry.job),
        "epoch": entry.epoch,
        "seq": entry.seq,
        "stage": None if entry.stage is None else storable(entry.stage[:_MAX_STAGE_KEY]),
        "attempt": entry.attempt,
        "late": late,
        "first_line": _whole(entry.data.get("first"), _MAX_BIGINT) if is_log else None,
        "lines": _whole(entry.data.get("count"), 2**31 - 1) if is_log else None,
        "data": entry.data,
    }


def _entry(run: RunId, pos: int, row: Mapping[str, Any], body: bytes, now: datetime) -> Entry:
    """As it is told, in the place that it got."""
    return Entry(
        run_id=run,
        pos=pos,
        type=row["type"],
        at=row.get("at") or iso(now),
        job_id=None if row["job_id"] is None else JobId(UUID(row["job_id"])),
        epoch=None if row["epoch"] is None else Epoch(row["epoch"]),
        seq=row.get("seq"),
        stage=None if row["stage"] is None else StageKey(row["stage"]),
        attempt=row.get("attempt"),
        late=row["late"],
        data=row["data"],
        body=body,
    )


def _time_of(record: Record) -> str | None:
    """The runner's clock as it said; None where what it said is no time."""
    try:
        at = datetime.fromisoformat(record.at)
        return iso(at if at.tzinfo else at.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None


def _lines_in(entries: Sequence[tuple[Appended, bool]]) -> int:
    return min(sum(_lines_of(entry) for entry, late in entries if not late), MOST_LINES)


def _lines_of(entry: Appended) -> int:
    """What a chunk of the log adds to the run's lines."""
    if not isinstance(entry, Record) or entry.type is not RecordType.LOG:
        return 0
    return _whole(entry.data.get("count"), 2**31 - 1) or 0


def iso(at: datetime) -> str:
    """A time as all of Rivet writes it: UTC, microseconds, `Z`."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _whole(value: object, most: int) -> int | None:
    """None where a chunk's header does not say it: such a chunk is kept, and shows as damaged."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= most else None
