"""The first schema, with the project `default`.

Rows that are written at every step of a run (`run_clock`, `job`, `lease`) leave room on their pages, so
that PostgreSQL can update them in place. Bodies of records are packed already: EXTERNAL keeps PostgreSQL
from trying again.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = (
    """
    CREATE TABLE project (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        slug text NOT NULL UNIQUE,
        created_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE TABLE token (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        kind text NOT NULL CHECK (kind IN ('admin', 'runner')),
        name text NOT NULL,
        hash bytea NOT NULL UNIQUE,
        queues text[] NOT NULL DEFAULT '{}',
        created_at timestamptz NOT NULL DEFAULT now(),
        revoked_at timestamptz
    )
    """,
    """
    CREATE TABLE pipeline (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        project_id uuid NOT NULL REFERENCES project,
        slug text NOT NULL,
        name text NOT NULL,
        next_run integer NOT NULL DEFAULT 1,
        next_version integer NOT NULL DEFAULT 1,
        created_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (project_id, slug)
    )
    """,
    """
    CREATE TABLE version (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        pipeline_id uuid NOT NULL REFERENCES pipeline,
        number integer,
        lua text NOT NULL,
        definition json NOT NULL,
        digest text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (pipeline_id, number)
    )
    """,
    """
    CREATE TABLE run (
        id uuid PRIMARY KEY,
        project_id uuid NOT NULL REFERENCES project,
        pipeline_id uuid NOT NULL REFERENCES pipeline,
        version_id uuid NOT NULL REFERENCES version,
        number integer NOT NULL,
        status text NOT NULL,
        reason text,
        inputs json NOT NULL,
        facts json NOT NULL,
        plan json NOT NULL,
        actor text NOT NULL,
        trigger text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        started_at timestamptz,
        ended_at timestamptz,
        cancelled_by text,
        UNIQUE (pipeline_id, number)
    )
    """,
    """
    CREATE TABLE run_clock (
        run_id uuid PRIMARY KEY REFERENCES run ON DELETE CASCADE,
        pos bigint NOT NULL DEFAULT 0,
        lines bigint NOT NULL DEFAULT 0
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE job (
        id uuid PRIMARY KEY,
        run_id uuid NOT NULL REFERENCES run ON DELETE CASCADE,
        ordinal integer NOT NULL,
        queue text NOT NULL,
        status text NOT NULL,
        reason text,
        epoch integer NOT NULL DEFAULT 0,
        on_lost text NOT NULL,
        runner text,
        session uuid,
        isolation text,
        last_seq bigint,
        ingested_seq bigint NOT NULL DEFAULT 0,
        queued_at timestamptz,
        started_at timestamptz,
        ended_at timestamptz,
        UNIQUE (run_id, ordinal)
    ) WITH (fillfactor = 70)
    """,
    """
    CREATE TABLE stage (
        id uuid PRIMARY KEY,
        run_id uuid NOT NULL REFERENCES run ON DELETE CASCADE,
        job_id uuid NOT NULL REFERENCES job ON DELETE CASCADE,
        key text NOT NULL,
        name text NOT NULL,
        place integer NOT NULL,
        ordinal integer NOT NULL,
        status text NOT NULL,
        reason text,
        waiting_since timestamptz,
        env json NOT NULL,
        timeout_s double precision NOT NULL,
        attempts bigint NOT NULL DEFAULT 0,
        UNIQUE (run_id, key)
    ) WITH (fillfactor = 70)
    """,
    """
    CREATE TABLE attempt (
        stage_id uuid NOT NULL REFERENCES stage ON DELETE CASCADE,
        number bigint NOT NULL,
        job_id uuid NOT NULL REFERENCES job ON DELETE CASCADE,
        epoch integer NOT NULL,
        status text NOT NULL,
        reason text,
        runner text NOT NULL,
        exit_code bigint,
        error json,
        started_at timestamptz NOT NULL,
        ended_at timestamptz,
        lines bigint NOT NULL DEFAULT 0,
        PRIMARY KEY (stage_id, number)
    ) WITH (fillfactor = 70)
    """,
    """
    CREATE TABLE lease (
        job_id uuid PRIMARY KEY REFERENCES job ON DELETE CASCADE,
        epoch integer NOT NULL,
        session uuid NOT NULL,
        renewed_at timestamptz NOT NULL,
        helped boolean NOT NULL DEFAULT false
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE outbox (
        job_id uuid NOT NULL REFERENCES job ON DELETE CASCADE,
        epoch integer NOT NULL,
        queue text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        published_at timestamptz,
        generation text,
        PRIMARY KEY (job_id, epoch)
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE runner (
        name text PRIMARY KEY,
        session uuid NOT NULL UNIQUE,
        token_id uuid NOT NULL REFERENCES token,
        status text NOT NULL,
        queues text[] NOT NULL,
        slots integer NOT NULL,
        free_slots integer NOT NULL,
        own_queue integer NOT NULL,
        holds text[] NOT NULL,
        isolation text NOT NULL,
        version text NOT NULL,
        protocol integer NOT NULL,
        registered_at timestamptz NOT NULL,
        seen_at timestamptz NOT NULL
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE record (
        run_id uuid NOT NULL REFERENCES run ON DELETE CASCADE,
        pos bigint NOT NULL,
        type text NOT NULL,
        at timestamptz NOT NULL,
        job_id uuid,
        epoch integer,
        seq bigint,
        stage text,
        attempt bigint,
        late boolean NOT NULL DEFAULT false,
        first_line bigint,
        lines integer,
        data json NOT NULL,
        body bytea NOT NULL,
        PRIMARY KEY (run_id, pos),
        UNIQUE (job_id, epoch, seq)
    )
    """,
    """
    CREATE TABLE output (
        run_id uuid NOT NULL REFERENCES run ON DELETE CASCADE,
        stage text NOT NULL,
        name text NOT NULL,
        value json NOT NULL,
        PRIMARY KEY (run_id, stage, name)
    )
    """,
    """
    CREATE TABLE part (
        name text PRIMARY KEY,
        beat_at timestamptz NOT NULL,
        unbroken_since timestamptz NOT NULL
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE duty (
        name text PRIMARY KEY,
        holder uuid NOT NULL,
        held_until timestamptz NOT NULL
    ) WITH (fillfactor = 50)
    """,
)

_INDEXES = (
    "ALTER TABLE record ALTER COLUMN body SET STORAGE EXTERNAL",
    "CREATE INDEX run_newest ON run (project_id, id DESC)",
    "CREATE INDEX run_of_pipeline ON run (pipeline_id, id DESC)",
    "CREATE INDEX version_newest ON version (pipeline_id, created_at DESC)",
    "CREATE INDEX job_running ON job (session) WHERE status = 'running'",
    "CREATE INDEX job_queued ON job (queued_at) WHERE status = 'queued'",
    "CREATE INDEX stage_of_job ON stage (job_id, ordinal)",
    "CREATE UNIQUE INDEX attempt_live ON attempt (job_id) WHERE status = 'running'",
    "CREATE INDEX lease_oldest ON lease (renewed_at)",
    "CREATE INDEX outbox_of_queue ON outbox (queue, created_at)",
    "CREATE INDEX record_end ON record (run_id) WHERE type = 'run_ended'",
    "CREATE INDEX record_log ON record (run_id, stage, attempt, first_line) WHERE type = 'log'",
)


def upgrade() -> None:
    for statement in (*_TABLES, *_INDEXES):
        op.execute(statement)
    op.execute("INSERT INTO project (slug) VALUES ('default')")
