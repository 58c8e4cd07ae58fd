"""What is kept for how long: bounds of a pipeline's own, artifacts that expired, samples of sizes.

Indexes for what deleting a run, a version or a blob has to look up. An attempt goes with its stage, so that
its reference to the job, which no index served, is not needed. A run that has ended may outlast the folder
that it was started from: it only says which it was.
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "ALTER TABLE pipeline ADD COLUMN keep_days integer, ADD COLUMN keep_runs integer",
    """
    ALTER TABLE artifact
        ADD COLUMN expired_at timestamptz,
        ADD COLUMN expired_size bigint,
        ALTER COLUMN blob_id DROP NOT NULL,
        ADD CHECK ((blob_id IS NULL) = (expired_at IS NOT NULL))
    """,
    """
    CREATE TABLE size_sample (
        taken_at timestamptz NOT NULL,
        name text NOT NULL,
        bytes bigint NOT NULL,
        PRIMARY KEY (taken_at, name)
    )
    """,
    "ALTER TABLE attempt DROP CONSTRAINT attempt_job_id_fkey",
    "CREATE INDEX run_of_version ON run (version_id)",
    "ALTER TABLE run DROP CONSTRAINT run_project_id_folder_fkey",
    "CREATE INDEX run_of_folder ON run (project_id, folder) WHERE folder IS NOT NULL AND ended_at IS NULL",
    "CREATE INDEX version_unpublished ON version (created_at) WHERE number IS NULL",
    "CREATE INDEX artifact_of_blob ON artifact (blob_id)",
    "CREATE INDEX artifact_oldest ON artifact (created_at) WHERE expired_at IS NULL",
    "CREATE INDEX cache_of_blob ON cache (blob_id)",
    "CREATE INDEX snapshot_of_blob ON snapshot (blob_id)",
    "CREATE INDEX folder_of_blob ON folder (blob_id)",
    "CREATE INDEX kept_files_of_blob ON kept_files (blob_id)",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
