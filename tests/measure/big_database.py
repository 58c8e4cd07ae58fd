"""A database of the present schema with as many runs as one likes, of many days, and some that go on.

All of it is written by PostgreSQL itself, without its checks of references: a million runs in some minutes.
Of 50 pipelines in two projects one is `seldom`, alone in its project, with ten runs or so in all: what is
asked of it must not look through all others. Ids are UUIDv7, those of a run's job and stages too.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, text

from rivet.domain.day import day_of
from rivet.store.record_days import PostgresRecordDays

from .old_database import PLAN, SPEC

GO_ON, WAIT = 20, 20
"""The newest runs: so many go on, and so many before them are queued."""
SELDOM = "p50"
QUEUE, RUNNER = "default", "big"
_AT_ONCE = 50_000

_ID = "(lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7{kind}8000' || lpad(to_hex(n), 12, '0'))::uuid"
_HOMES = (
    "INSERT INTO project (slug) VALUES ('seldom')",
    """
    INSERT INTO pipeline (project_id, slug, name, next_run, next_version)
    SELECT project.id, 'p' || n, 'P' || n, :runs + 1, 2 FROM generate_series(1, 50) AS n
    JOIN project ON project.slug = CASE WHEN n = 50 THEN 'seldom' ELSE 'default' END
    """,
    """
    INSERT INTO version (pipeline_id, number, lua, definition, digest)
    SELECT id, 1, 'pipeline = { name = "' || name || '", stages = { { name = "a", script = function() end } } }', '{}',
           repeat('0', 64)
    FROM pipeline
    """,
    "INSERT INTO token (kind, name, hash, queues) VALUES ('runner', 'big', '\\x00', '{default}')",
    """
    INSERT INTO runner (name, session, token_id, status, queues, slots, free_slots, own_queue, holds, isolation, version,
                        protocol, registered_at, seen_at)
    SELECT 'big', gen_random_uuid(), id, 'online', '{default}', 100, 80, 0, '{}', 'namespaces', '0', 1, now(), now()
    FROM token WHERE name = 'big'
    """,
)
_MADE = f"""
    CREATE TEMPORARY TABLE made ON COMMIT DROP AS
    SELECT n, at, home.id AS home, home.project_id AS project, version.id AS version,
           {_ID.format(kind="000")} AS run, {_ID.format(kind="001")} AS job,
           CASE WHEN n > :runs - :go_on THEN 'running' WHEN n > :runs - :go_on - :wait THEN 'queued'
                WHEN n % 5003 = 0 THEN 'errored' WHEN n % 7 = 0 THEN 'failed' ELSE 'passed' END AS status,
           CASE WHEN n <= :runs - :go_on - :wait THEN at + interval '30 s' END AS ended_at
    FROM (SELECT n, CAST(:now AS timestamptz) - (:runs - n) * CAST(:every AS interval) AS at
          FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n) AS times
    JOIN pipeline AS home ON home.slug = 'p' || CASE WHEN n % (:runs / 10) = 7 THEN 50 ELSE n % 49 + 1 END
    JOIN version ON version.pipeline_id = home.id
"""
_RUNS = (
    """
    INSERT INTO run (id, project_id, pipeline_id, version_id, number, status, inputs, facts, plan, actor, trigger, created_at,
                     started_at, ended_at)
    SELECT run, project, home, version, n, status, '{}', '{}', CAST(:plan AS json), 'alice',
           CASE WHEN n % 5003 = 1 THEN 'rerun' WHEN n % 3 = 0 THEN 'manual' ELSE 'api' END,
           at, CASE WHEN status <> 'queued' THEN at END, ended_at FROM made
    """,
    "INSERT INTO run_clock (run_id, pos, lines) SELECT run, 3, 40 FROM made",
    """
    INSERT INTO job (id, run_id, ordinal, queue, status, epoch, on_lost, runner, session, ingested_seq, last_seq, queued_at,
                     started_at, ended_at)
    SELECT job, run, 1, 'default', made.status, 1, 'error', CASE WHEN made.status <> 'queued' THEN 'big' END,
           CASE WHEN made.status <> 'queued' THEN session END, CASE WHEN made.status <> 'queued' THEN 2 ELSE 0 END,
           CASE WHEN ended_at IS NOT NULL THEN 2 END, at, CASE WHEN made.status <> 'queued' THEN at END, ended_at
    FROM made, runner WHERE runner.name = 'big'
    """,
    """
    INSERT INTO lease (job_id, epoch, session, renewed_at)
    SELECT job, 1, session, now() + interval '1 day' FROM made, runner WHERE made.status = 'running' AND runner.name = 'big'
    """,
    """
    INSERT INTO outbox (job_id, epoch, queue, created_at, published_at, generation)
    SELECT job, 1, 'default', at, at, 'now' FROM made WHERE status = 'queued'
    """,
    f"""
    INSERT INTO stage (id, run_id, job_id, key, name, ordinal, status, env, timeout_s, spec, attempts)
    SELECT {_ID.format(kind="' || to_hex(256 + s) || '")}, run, job, 's' || s, 'S' || s, s,
           CASE WHEN status = 'queued' OR ended_at IS NULL AND s = 3 THEN 'pending'
                WHEN ended_at IS NULL AND s = 2 THEN 'running' WHEN ended_at IS NULL THEN 'passed' ELSE status END,
           '{{}}', 3600, CAST(:spec AS json), CASE WHEN status = 'queued' OR ended_at IS NULL AND s = 3 THEN 0 ELSE 1 END
    FROM made, generate_series(1, 3) AS s
    """,
    f"""
    INSERT INTO attempt (stage_id, number, job_id, epoch, status, runner, exit_code, started_at, ended_at, lines)
    SELECT {_ID.format(kind="' || to_hex(256 + s) || '")}, 1, job, 1,
           CASE WHEN ended_at IS NULL AND s = 2 THEN 'running' WHEN ended_at IS NULL THEN 'passed' ELSE status END,
           'big', 0, CASE WHEN ended_at IS NULL THEN now() ELSE at END, ended_at, 13
    FROM made, generate_series(1, 3) AS s WHERE status <> 'queued' AND (ended_at IS NOT NULL OR s < 3)
    """,
    """
    INSERT INTO record (run_id, pos, type, at, late, data, body)
    SELECT run, 1, 'run_created', at, false, '{"number": 1, "actor": "alice"}', '' FROM made
    """,
    # Four runs of five have a chunk: of a million so many as 100 GB of chunks of 128 KiB are.
    """
    INSERT INTO record (run_id, pos, type, at, job_id, epoch, seq, stage, attempt, late, first_line, lines, data, body)
    SELECT run, 2, 'log', at, job, 1, 1, 's1', 1, false, 1, 1, '{"first": 1, "count": 1, "marks": [[0, "then", "stdout", null]]}',
           :body FROM made WHERE n % 5 <> 0
    """,
    """
    INSERT INTO record (run_id, pos, type, at, late, data, body)
    SELECT run, 3, 'run_ended', ended_at, false, '{"status": "passed"}', '' FROM made WHERE ended_at IS NOT NULL
    """,
    """
    INSERT INTO test_case (run_id, stage, attempt, place, suite, classname, name, status, seconds, message, details)
    SELECT run, 's1', 1, place, 'unit', 'c' || place, 't' || place,
           CASE WHEN place = 1 AND n % 2 = 0 THEN 'failed' ELSE 'passed' END, 0.1, '', ''
    FROM made, generate_series(1, 10) AS place WHERE n > :runs * 9 / 10
    """,
    """
    INSERT INTO piece (project_id, sha256, size, stored, used_at)
    SELECT project, sha256(CAST(CAST(n AS text) AS bytea)), 1000, 1000, at FROM made WHERE n % 10 = 0 AND at > :fresh
    """,
    """
    INSERT INTO blob (id, project_id, size, sha256, pieces, created_at)
    SELECT run, project, 1000, sha256(CAST(CAST(n AS text) AS bytea)), sha256(CAST(CAST(n AS text) AS bytea)), at
    FROM made WHERE n % 10 = 0 AND at > :fresh
    """,
    """
    INSERT INTO artifact (run_id, name, stage, attempt, form, filename, root, files, blob_id, created_at, expired_at, expired_size)
    SELECT run, 'a', 's1', 1, 'file', 'a', '', 1, CASE WHEN at > :fresh THEN run END, at,
           CASE WHEN at <= :fresh THEN at + interval '30 days' END, CASE WHEN at <= :fresh THEN 1000 END
    FROM made WHERE n % 10 = 0
    """,
)
_SETTLED = (
    "UPDATE tally_until SET until = now()",
    "INSERT INTO stored_bytes SELECT coalesce(sum(stored), 0) FROM piece",  # nothing told it while it was written
)


@dataclass(frozen=True, slots=True)
class Big:
    """What a database was filled with."""

    runs: int
    days: int


def fill(engine: Engine, runs: int, *, days: int, body: bytes, say: Any = lambda _: None) -> Big:
    """So many runs (100 or more) over so many days, the newest now; what artifacts hold is of the last 30."""
    now = datetime.now(UTC)
    with engine.begin() as connection:
        kept = PostgresRecordDays(connection)
        for ago in range(days + 1):
            kept.open(day_of(now - timedelta(days=ago)))
        for statement in _HOMES:
            connection.execute(text(statement), {"runs": runs})
    told = {
        "runs": runs, "every": timedelta(days=days) / runs, "now": now, "go_on": GO_ON, "wait": WAIT,
        "plan": PLAN, "spec": SPEC, "body": body, "fresh": now - timedelta(days=30),
    }
    for first in range(1, runs + 1, _AT_ONCE):
        part = told | {"first": first, "last": min(runs, first + _AT_ONCE - 1)}
        with engine.begin() as connection:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            for statement in (_MADE, *_RUNS):
                connection.execute(text(statement), part)
        say(f"{part['last']} of {runs} runs")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        for statement in _SETTLED:
            connection.execute(text(statement))
        connection.execute(text("VACUUM ANALYZE"))
    return Big(runs, days)
