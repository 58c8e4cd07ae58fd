"""What stages and jobs wait for and share, and groups in which runs wait for each other.

The place of a stage in its definition's list gives way to its whole path in the evaluated table.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "ALTER TABLE stage ADD COLUMN spec json, ADD COLUMN approved_by text",
    "UPDATE stage SET spec = json_build_object('path', json_build_array('stages', place))",
    "ALTER TABLE stage ALTER COLUMN spec SET NOT NULL, DROP COLUMN place",
    """
    ALTER TABLE job
        ADD COLUMN waits_for uuid[] NOT NULL DEFAULT '{}',
        ADD COLUMN starts_from uuid,
        ADD COLUMN grouped json,
        ADD COLUMN is_last boolean NOT NULL DEFAULT false,
        ADD COLUMN is_cancelled boolean NOT NULL DEFAULT false
    """,
    """
    ALTER TABLE run
        ADD COLUMN waiting_since timestamptz,
        ADD COLUMN waited_s double precision NOT NULL DEFAULT 0,
        ADD COLUMN turn text
    """,
    "CREATE INDEX run_in_turn ON run (project_id, turn, id) WHERE turn IS NOT NULL AND ended_at IS NULL",
    "CREATE INDEX stage_waiting ON stage (waiting_since) WHERE status = 'waiting'",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
