"""Blobs in pieces, the artifacts and caches that they belong to, and reports of tests and coverage."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE piece (
        project_id uuid NOT NULL REFERENCES project,
        sha256 bytea NOT NULL,
        size integer NOT NULL,
        stored integer NOT NULL,
        used_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (project_id, sha256)
    )
    """,
    """
    CREATE TABLE blob (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        project_id uuid NOT NULL REFERENCES project,
        size bigint NOT NULL,
        sha256 bytea NOT NULL,
        pieces bytea NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "ALTER TABLE blob ALTER COLUMN pieces SET STORAGE EXTERNAL",
    """
    CREATE TABLE artifact (
        run_id uuid NOT NULL REFERENCES run ON DELETE CASCADE,
        name text NOT NULL,
        stage text NOT NULL,
        attempt bigint NOT NULL,
        form text NOT NULL,
        filename text NOT NULL,
        root text NOT NULL,
        files integer NOT NULL,
        blob_id uuid NOT NULL REFERENCES blob,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (run_id, name)
    )
    """,
    """
    CREATE TABLE cache (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        project_id uuid NOT NULL REFERENCES project,
        pipeline_id uuid NOT NULL REFERENCES pipeline ON DELETE CASCADE,
        branch text NOT NULL,
        key text NOT NULL,
        form text NOT NULL,
        filename text NOT NULL,
        root text NOT NULL,
        files integer NOT NULL,
        blob_id uuid NOT NULL REFERENCES blob,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        used_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (pipeline_id, branch, key)
    )
    """,
    "CREATE INDEX cache_newest ON cache (pipeline_id, branch, created_at DESC)",
    """
    CREATE TABLE test_case (
        run_id uuid NOT NULL REFERENCES run ON DELETE CASCADE,
        stage text NOT NULL,
        attempt bigint NOT NULL,
        place integer NOT NULL,
        suite text NOT NULL,
        classname text NOT NULL,
        name text NOT NULL,
        status text NOT NULL,
        seconds double precision NOT NULL,
        message text NOT NULL,
        details text NOT NULL,
        PRIMARY KEY (run_id, stage, attempt, place)
    )
    """,
    """
    CREATE TABLE coverage (
        run_id uuid NOT NULL REFERENCES run ON DELETE CASCADE,
        stage text NOT NULL,
        attempt bigint NOT NULL,
        place integer NOT NULL,
        source text NOT NULL,
        form text NOT NULL,
        lines bigint NOT NULL,
        covered bigint NOT NULL,
        PRIMARY KEY (run_id, stage, attempt, place)
    )
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
