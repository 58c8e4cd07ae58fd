"""Folders that were uploaded for runs to start from, and which run starts from which."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE folder (
        project_id uuid NOT NULL REFERENCES project,
        sha256 bytea NOT NULL,
        blob_id uuid NOT NULL REFERENCES blob,
        created_at timestamptz NOT NULL DEFAULT now(),
        used_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (project_id, sha256)
    )
    """,
    "ALTER TABLE run ADD COLUMN folder bytea",
    "ALTER TABLE run ADD FOREIGN KEY (project_id, folder) REFERENCES folder (project_id, sha256)",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
