"""Runs that run another again: of which, what of it stands, and where their workspaces come from.

None of it refers to the other run's rows: it may be gone before its rerun is.
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "ALTER TABLE run ADD COLUMN rerun_of uuid",
    "ALTER TABLE job ADD COLUMN origin json",
    "ALTER TABLE stage ADD COLUMN from_run uuid",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
