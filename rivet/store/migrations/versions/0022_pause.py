"""What is paused: pipelines, queues and runners."""

from alembic import op

revision = "0022"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE pause (
            kind   text NOT NULL CHECK (kind IN ('pipeline', 'queue', 'runner')),
            target text NOT NULL,
            why    text NOT NULL,
            actor  text NOT NULL,
            since  timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (kind, target)
        )
        """
    )
