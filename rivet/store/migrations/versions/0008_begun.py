"""Which attempts a job's holder has said to have begun: known before its journal tells of them."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE lease ADD COLUMN begun text[] NOT NULL DEFAULT '{}'")
