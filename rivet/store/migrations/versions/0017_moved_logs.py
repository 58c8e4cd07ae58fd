"""Logs of ended runs whose bytes are in a blob: where in it the body of each chunk is."""

from alembic import op

revision = "0017"
down_revision = "0023"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "ALTER TABLE record ADD COLUMN moved_to bigint, ADD COLUMN moved_size integer",
    """
    CREATE TABLE moved_log (
        run_id uuid PRIMARY KEY REFERENCES run ON DELETE CASCADE,
        blob_id uuid REFERENCES blob
    )
    """,
    "CREATE INDEX moved_log_of_blob ON moved_log (blob_id)",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
