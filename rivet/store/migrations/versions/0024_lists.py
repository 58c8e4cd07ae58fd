"""Lists of runs of a status or a trigger that is rare among very many: found by an index, in order.

Who has very many runs may have made them before, without keeping others from writing (docs/operations.md).
"""

from alembic import op

revision = "0024"
down_revision = "0017"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "CREATE INDEX IF NOT EXISTS run_ended_so ON run (status, id DESC) WHERE ended_at IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS run_of_trigger ON run (trigger, id DESC)",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
