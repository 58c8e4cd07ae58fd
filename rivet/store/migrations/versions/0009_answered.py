"""What POST requests with an Idempotency-Key were answered, so that the same one is not carried out twice."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE answered (
        token_id uuid NOT NULL REFERENCES token ON DELETE CASCADE,
        key text NOT NULL,
        request bytea NOT NULL,
        made_id uuid NOT NULL,
        begun_at timestamptz NOT NULL DEFAULT now(),
        created_at timestamptz NOT NULL DEFAULT now(),
        answer bytea,
        PRIMARY KEY (token_id, key)
    )
    """,
    "CREATE INDEX answered_by_age ON answered (created_at)",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
