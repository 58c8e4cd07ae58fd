"""Secrets: sealed values, and who may use them. Names sort by their bytes, as pages of them are cut."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE secret (
            project_id uuid NOT NULL REFERENCES project,
            name text COLLATE "C" NOT NULL CHECK (name ~ '^[A-Z][A-Z0-9_]{0,99}$'),
            key_id text NOT NULL,
            nonce bytea NOT NULL,
            sealed bytea NOT NULL,
            pipelines text[] NOT NULL,
            branches text[] NOT NULL,
            all_pipelines boolean NOT NULL,
            set_by text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (project_id, name),
            CHECK (all_pipelines OR cardinality(pipelines) > 0)
        )
        """
    )
