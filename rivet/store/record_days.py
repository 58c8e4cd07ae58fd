"""The partitions of `record`: one a day of the run's start, made ahead and dropped whole.

`record_other` takes what no day covers. It is all but empty: records that came late for a day which is gone,
or of runs whose ids are of a time that nobody has prepared.
"""

import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, text

from rivet.domain.day import ids_of
from rivet.engine.retention_ports import Day

LOCK_S = 2.0
"""For longer than this nobody who writes or reads records waits behind us; upkeep comes again."""

_BOUNDS = re.compile(r"FOR VALUES FROM \((?:MINVALUE|'([0-9a-f-]{36})')\) TO \('([0-9a-f-]{36})'\)")
_LOWEST = UUID(int=0)

DROPPED_AT = """
    (SELECT CASE WHEN to_id > {run} THEN dropped_at END FROM dropped_day
     WHERE from_id <= {run} ORDER BY from_id DESC LIMIT 1)
"""
"""When the records of a run were dropped, or null. Days do not overlap: one row is looked at."""

_PARTITIONS = text(
    """
    SELECT part.relname, pg_get_expr(part.relpartbound, part.oid) AS bound
    FROM pg_inherits JOIN pg_class AS part ON part.oid = pg_inherits.inhrelid
    WHERE pg_inherits.inhparent = 'record'::regclass ORDER BY part.relname
    """
)
_PATIENCE = text("SELECT set_config('lock_timeout', :patience, true)")
_STILL_WANTED = text(
    """
    SELECT EXISTS (
        SELECT FROM run WHERE id >= :first AND id < :after AND (ended_at IS NULL OR ended_at >= :ended_before)
    )
    """
)
_NOTE = text(
    """
    INSERT INTO dropped_day (from_id, to_id, dropped_at) VALUES (:first, :after, :now)
    ON CONFLICT (from_id) DO UPDATE SET to_id = excluded.to_id, dropped_at = excluded.dropped_at
    """
)
_LET_GO_OF_MOVED = text("DELETE FROM moved_log WHERE run_id >= :first AND run_id < :after")
_FORGET_NOTES = text(
    "DELETE FROM dropped_day WHERE NOT EXISTS (SELECT FROM run WHERE run.id >= from_id AND run.id < to_id)"
)
_SWEEP = text(
    """
    DELETE FROM record_other WHERE (run_id, pos) IN (
        SELECT run_id, pos FROM record_other AS late
        WHERE NOT EXISTS (SELECT FROM run WHERE run.id = late.run_id)
           OR EXISTS (SELECT FROM dropped_day WHERE from_id <= late.run_id AND to_id > late.run_id)
        LIMIT :most
    )
    """
)
_FORGET = text("DELETE FROM record WHERE run_id IN :runs").bindparams(bindparam("runs", expanding=True))


class PostgresRecordDays:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self) -> Sequence[Day]:
        return [
            Day(row.relname, UUID(found[1]) if found[1] else _LOWEST, UUID(found[2]))
            for row in self._connection.execute(_PARTITIONS)
            if (found := _BOUNDS.fullmatch(row.bound))
        ]

    def open(self, day: date) -> bool:
        first, after = ids_of(day)
        if any(known.first <= first < known.after for known in self.all()):
            return False
        name = f"record_{day:%Y%m%d}"
        self._be_patient()
        # Attached rather than made as a partition: so nobody waits who has to do with other days.
        self._do(f"CREATE TABLE {name} (LIKE record INCLUDING DEFAULTS INCLUDING STORAGE)")
        self._do(
            f"WITH early AS (DELETE FROM record_other WHERE run_id >= '{first}' AND run_id < '{after}' "
            f"RETURNING *) INSERT INTO {name} SELECT * FROM early"
        )
        self._do(f"ALTER TABLE record ATTACH PARTITION {name} FOR VALUES FROM ('{first}') TO ('{after}')")
        return True

    def drop(self, day: Day, ended_before: datetime, now: datetime) -> bool:
        span: dict[str, Any] = {"first": day.first, "after": day.after}
        if self._connection.execute(_STILL_WANTED, span | {"ended_before": ended_before}).scalar_one():
            return False
        self._be_patient()
        self._do(f'DROP TABLE "{day.name}"')
        self._connection.execute(_NOTE, span | {"now": now})
        self._connection.execute(_LET_GO_OF_MOVED, span)
        return True

    def sweep(self, limit: int) -> int:
        return self._connection.execute(_SWEEP, {"most": limit}).rowcount

    def forget_notes(self) -> int:
        return self._connection.execute(_FORGET_NOTES).rowcount

    def _be_patient(self) -> None:
        self._connection.execute(_PATIENCE, {"patience": f"{int(LOCK_S * 1000)}ms"})

    def _do(self, statement: str) -> None:
        """Names and bounds cannot be given as values; they are ours, never a user's."""
        self._connection.exec_driver_sql(statement)


def forget_records(runs: Sequence[UUID], connection: Connection) -> None:
    """Delete the records of runs that are about to go: nothing in the database does it by itself."""
    if runs:
        connection.execute(_FORGET, {"runs": list(runs)})
