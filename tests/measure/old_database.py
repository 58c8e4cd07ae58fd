"""A database as version 0.1.0 first had it (schema 0012), with runs of many days in it, and some that go on."""

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, text

from rivet.store.connect import engine_for

OLD = "0012"

_RUNS = (
    """
    INSERT INTO pipeline (id, project_id, slug, name, next_run, next_version)
    SELECT md5('pipeline' || n)::uuid, project.id, 'old-' || n, 'Old ' || n, :runs / 10 + 1, 2
    FROM generate_series(1, 10) AS n, project WHERE project.slug = 'default'
    """,
    """
    INSERT INTO version (id, pipeline_id, number, lua, definition, digest)
    SELECT md5('version' || n)::uuid, md5('pipeline' || n)::uuid, 1, 'return {}', '{}', repeat('0', 64)
    FROM generate_series(1, 10) AS n
    """,
    # Ids are UUIDv7: one run a minute or so, the newest now.
    """
    CREATE TEMPORARY TABLE made ON COMMIT DROP AS
    SELECT n, (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7000a000'
               || lpad(to_hex(n), 12, '0'))::uuid AS id, at, n > :runs - 20 AS goes_on
    FROM (SELECT n, now() - make_interval(secs => (:runs - n) * :every) AS at
          FROM generate_series(1, :runs) AS n) AS times
    """,
    """
    INSERT INTO run (id, project_id, pipeline_id, version_id, number, status, inputs, facts, plan, actor,
                     trigger, created_at, started_at, ended_at)
    SELECT made.id, pipeline.project_id, pipeline.id, md5('version' || (n % 10 + 1))::uuid, (n + 9) / 10,
           CASE WHEN goes_on THEN 'running' WHEN n % 7 = 0 THEN 'failed' ELSE 'passed' END,
           '{}', '{}', CAST(:plan AS json), 'alice', 'manual', at, at,
           CASE WHEN NOT goes_on THEN at + interval '30 seconds' END
    FROM made JOIN pipeline ON pipeline.slug = 'old-' || (n % 10 + 1)
    """,
    "INSERT INTO run_clock (run_id, pos, lines) SELECT id, 12, 800 FROM made",
    """
    INSERT INTO job (id, run_id, ordinal, queue, status, epoch, on_lost, ingested_seq, last_seq, queued_at,
                     started_at, ended_at, waits_for, is_last, is_cancelled)
    SELECT md5('job' || n)::uuid, id, 1, 'default', CASE WHEN goes_on THEN 'running' ELSE 'passed' END, 1,
           'error', 10, CASE WHEN NOT goes_on THEN 10 END, at, at, at + interval '30 seconds', '{}', false, false
    FROM made
    """,
    """
    INSERT INTO stage (id, run_id, job_id, key, name, ordinal, status, env, timeout_s, spec, attempts)
    SELECT md5('stage' || n || '.' || s)::uuid, id, md5('job' || n)::uuid, 's' || s, 's' || s, s,
           CASE WHEN goes_on AND s = 3 THEN 'running' ELSE 'passed' END, '{}', 3600, CAST(:spec AS json), 1
    FROM made, generate_series(1, 3) AS s
    """,
    """
    INSERT INTO attempt (stage_id, number, job_id, epoch, status, runner, started_at, ended_at, lines)
    SELECT md5('stage' || n || '.' || s)::uuid, 1, md5('job' || n)::uuid, 1,
           CASE WHEN goes_on AND s = 3 THEN 'running' ELSE 'passed' END, 'old', at,
           CASE WHEN NOT (goes_on AND s = 3) THEN at + interval '30 seconds' END, 266
    FROM made, generate_series(1, 3) AS s
    """,
    """
    INSERT INTO record (run_id, pos, type, at, job_id, epoch, seq, stage, attempt, late, first_line, lines,
                        data, body)
    SELECT id, pos, 'log', at, md5('job' || n)::uuid, 1, pos, 's' || (pos % 3 + 1), 1, false, 1 + (pos - 1) / 3,
           1, json_build_object('first', 1 + (pos - 1) / 3, 'count', 1,
                                'marks', json_build_array(json_build_array(0, 'then', 'stdout', NULL))),
           :body
    FROM made, generate_series(1, 12) AS pos
    """,
    """
    UPDATE record SET type = 'run_ended', seq = NULL, job_id = NULL, first_line = NULL, lines = NULL, data = '{}'
    FROM made WHERE record.run_id = made.id AND pos = 12 AND NOT goes_on
    """,
)
PLAN = (
    '{"env": {}, "network": false, "network_hosts": [], "hosts": [], "limits": {}, "isolation": null, '
    '"timeout_s": 21600, "on_lost": "error", "digest": "0"}'
)
SPEC = '{"path": ["stages", 1]}'


def bring_to(database_url: str, revision: str) -> None:
    """An empty database to the schema of a revision."""
    engine = engine_for(database_url, pool_size=1, statement_timeout_s=600)
    try:
        with engine.begin() as connection:
            config = Config()
            config.set_main_option("script_location", "rivet.store:migrations")
            config.set_main_option("path_separator", "os")
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    finally:
        engine.dispose()


def fill(database_url: str, runs: int, body: bytes, every_s: float = 60.0) -> None:
    """So many runs of three stages and twelve records, one each `every_s` seconds; the last 20 go on."""
    engine: Engine = engine_for(database_url, pool_size=1, statement_timeout_s=1200)
    told = {"runs": runs, "every": every_s, "plan": PLAN, "spec": SPEC, "body": body}
    try:
        with engine.begin() as connection:
            for statement in _RUNS:
                connection.execute(text(statement), told)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))
    finally:
        engine.dispose()
