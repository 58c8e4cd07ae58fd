"""Projects that are deleted: their rows go when nothing that is stored of them is left."""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE project ADD COLUMN deleted_at timestamptz")
