"""Since when a runner has all workspaces that jobs have left on it, and how long it keeps one."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_STATEMENTS = ("ALTER TABLE runner ADD COLUMN kept_since timestamptz, ADD COLUMN kept_s double precision",)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
