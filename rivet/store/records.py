"""A run's one order: every record gets the run's next position, under the lock of its clock."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, update
from sqlalchemy.dialects.postgresql import insert as upsert

from rivet.domain.ids import Epoch, JobId, RunId, StageKey
from rivet.domain.record import ControlEvent, Record, RecordType
from rivet.engine.ports import Committed, Entry
from rivet.store.plain_json import storable
from rivet.store.tables import RECORD, RUN_CLOCK

_MAX_STAGE_KEY = 200  # what is longer is no key of ours, and would not fit an index
_MAX_BIGINT = 2**63 - 1

_TAKE = (
    update(RUN_CLOCK)
    .where(RUN_CLOCK.c.run_id == bindparam("run"))
    .values(pos=RUN_CLOCK.c.pos + bindparam("count"))
    .returning(RUN_CLOCK.c.pos)
)
_APPEND = upsert(RECORD).on_conflict_do_nothing(index_elements=["job_id", "epoch", "seq"])
_APPEND_AND_SAY = _APPEND.returning(RECORD.c.pos)

Appended = Record | tuple[ControlEvent, Mapping[str, Any]]


class PostgresRecords:
    def __init__(
        self, connection: Connection, committed: Committed, now: Callable[[], datetime]
    ) -> None:
        self._connection = connection
        self._committed = committed
        self._now = now

    def append(self, run: RunId, entries: Sequence[Appended], *, late: bool = False) -> int:
        """Raises LookupError if there is no such run."""
        last = self._connection.execute(_TAKE, {"run": run, "count": len(entries)}).scalar_one_or_none()
        if last is None:
            raise LookupError(f"run {run} has no clock")
        first = int(last) - len(entries) + 1
        placed = [self._placed(run, pos, entry, late) for pos, entry in enumerate(entries, first)]
        rows = [_row(entry) for entry in placed]
        if any(entry.seq is not None for entry in placed):
            stored = set(self._connection.execute(_APPEND_AND_SAY, rows).scalars())
            placed = [entry for entry in placed if entry.pos in stored]
        elif rows:
            self._connection.execute(_APPEND, rows)
        self._committed.entries.extend(placed)
        return first

    def _placed(self, run: RunId, pos: int, entry: Appended, late: bool) -> Entry:
        if isinstance(entry, Record):
            return Entry(
                run_id=run,
                pos=pos,
                type=entry.type.value,
                at=iso(self._time_of(entry)),
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
            at=iso(self._now()),
            job_id=None if job is None else JobId(UUID(str(job))),
            epoch=None if data.get("epoch") is None else Epoch(int(data["epoch"])),
            stage=data.get("stage"),
            data=data,
        )

    def _time_of(self, record: Record) -> datetime:
        """The runner's clock as it said; ours where what it said is no time."""
        try:
            at = datetime.fromisoformat(record.at)
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            return self._now()


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
