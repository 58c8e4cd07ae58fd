"""When a queued job is to be published: one whose stage is tried again after a while waits without a slot."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE outbox ADD COLUMN not_before timestamptz")
