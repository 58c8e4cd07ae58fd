"""Workspaces that jobs leave for other runners, and files that stages keep for others of their run."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE snapshot (
        job_id uuid PRIMARY KEY REFERENCES job ON DELETE CASCADE,
        epoch integer NOT NULL,
        form text NOT NULL,
        filename text NOT NULL,
        root text NOT NULL,
        files integer NOT NULL,
        blob_id uuid NOT NULL REFERENCES blob,
        created_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE TABLE kept_files (
        run_id uuid NOT NULL REFERENCES run ON DELETE CASCADE,
        stage text NOT NULL,
        form text NOT NULL,
        filename text NOT NULL,
        root text NOT NULL,
        files integer NOT NULL,
        paths json NOT NULL,
        blob_id uuid NOT NULL REFERENCES blob,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (run_id, stage)
    )
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
