"""Who asked for the end of one stage."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE stage ADD COLUMN cancelled_by text")
