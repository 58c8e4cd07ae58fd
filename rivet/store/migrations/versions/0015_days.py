"""Records in one partition a day of their run's start, which can be dropped whole.

A run's id is a UUIDv7 and begins with its time, so a day is a range of ids. What was there before becomes
one more partition, `record_before`, as it stands: its rows stay where they are, its indexes are taken over,
and one unique index is built anew, for it has to have the run's id in it. Records no longer refer to `run`:
their run's clock is locked when they are written, which says the same, and who deletes a run deletes them.
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from alembic import op
from sqlalchemy import text

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_AHEAD = 7
_SET_ASIDE = (
    "ALTER TABLE record RENAME TO record_before",
    """
    ALTER TABLE record_before DROP CONSTRAINT record_run_id_fkey,
        DROP CONSTRAINT record_job_id_epoch_seq_key
    """,
    "ALTER INDEX record_pkey RENAME TO record_before_pkey",
    "ALTER INDEX record_end RENAME TO record_before_end",
    "ALTER INDEX record_log RENAME TO record_before_log",
    "ALTER INDEX record_told RENAME TO record_before_told",
)
_MADE = (
    """
    CREATE TABLE record (
        LIKE record_before INCLUDING DEFAULTS INCLUDING STORAGE,
        PRIMARY KEY (run_id, pos),
        UNIQUE (run_id, job_id, epoch, seq)
    ) PARTITION BY RANGE (run_id)
    """,
    "CREATE INDEX record_end ON record (run_id) WHERE type = 'run_ended'",
    "CREATE INDEX record_log ON record (run_id, stage, attempt, first_line) WHERE type = 'log'",
    "CREATE INDEX record_told ON record (run_id, pos) WHERE type IN ('annotation', 'summary')",
    "CREATE TABLE record_other PARTITION OF record DEFAULT",
    """
    CREATE TABLE dropped_day (
        from_id uuid PRIMARY KEY,
        to_id uuid NOT NULL,
        dropped_at timestamptz NOT NULL DEFAULT now()
    )
    """,
)
_TAKEN_OVER = (
    "WITH moved AS (DELETE FROM record_before WHERE run_id >= '{bound}' RETURNING *) "
    "INSERT INTO record_other SELECT * FROM moved",
    "ALTER TABLE record_before ADD UNIQUE (run_id, job_id, epoch, seq)",
    "ALTER TABLE record ATTACH PARTITION record_before FOR VALUES FROM (MINVALUE) TO ('{bound}')",
)


def upgrade() -> None:
    connection = op.get_bind()
    op.execute("LOCK TABLE run, record IN ACCESS EXCLUSIVE MODE")
    for statement in _SET_ASIDE + _MADE:
        op.execute(statement)
    today = _day(connection.execute(text("SELECT now()")).scalar_one())
    if connection.execute(text("SELECT EXISTS (SELECT FROM record_before)")).scalar_one():
        # Clocks of the processes that give ids may be a little ahead of the database's.
        today += timedelta(days=1)
        for statement in _TAKEN_OVER:
            op.execute(statement.format(bound=_first_id(today)))
    else:
        op.execute("DROP TABLE record_before")
    for day in (today + timedelta(days=ahead) for ahead in range(_AHEAD)):
        op.execute(
            f"CREATE TABLE record_{day:%Y%m%d} PARTITION OF record "
            f"FOR VALUES FROM ('{_first_id(day)}') TO ('{_first_id(day + timedelta(days=1))}')"
        )


def _day(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _first_id(day: datetime) -> UUID:
    """The lowest UUIDv7 of a day."""
    return UUID(int=int(day.timestamp() * 1000) << 80)
