"""What has ended, added up for metrics: a sum a kind, status and bound, and up to when it goes.

Runs and attempts that ended are found by when they did, open runs without a look at all others.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE tally (
        kind text NOT NULL,
        status text NOT NULL,
        bound double precision NOT NULL,
        ended bigint NOT NULL,
        seconds double precision NOT NULL,
        lines bigint NOT NULL,
        PRIMARY KEY (kind, status, bound)
    )
    """,
    "CREATE TABLE tally_until (until timestamptz PRIMARY KEY)",
    "INSERT INTO tally_until VALUES ('-infinity')",
    "CREATE INDEX run_ended ON run (ended_at) WHERE ended_at IS NOT NULL",
    "CREATE INDEX run_open ON run (id) WHERE ended_at IS NULL",
    "CREATE INDEX attempt_ended ON attempt (ended_at) WHERE ended_at IS NOT NULL",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
