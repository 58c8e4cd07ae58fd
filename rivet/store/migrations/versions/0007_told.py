"""Annotations and summaries are found without reading a run's whole log."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE INDEX record_told ON record (run_id, pos) WHERE type IN ('annotation', 'summary')")
