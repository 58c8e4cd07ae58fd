"""Runs of the past, written straight into the tables as they would be there after so long."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from uuid import UUID

import zstandard
from sqlalchemy import Connection, text

from rivet.domain.day import id_at
from rivet.domain.log import Chunk, Mark
from rivet.domain.run import Plan
from rivet.domain.states import FINISHED_RUN

PLAN = Plan({}, False, (), (), {}, None, 3600.0, "error", "d" * 64)
TOOK = timedelta(minutes=1)

_PIPELINE = text(
    """
    INSERT INTO pipeline (project_id, slug, name) SELECT id, :slug, :slug FROM project WHERE slug = 'default'
    ON CONFLICT (project_id, slug) DO UPDATE SET name = excluded.name RETURNING id
    """
)
_VERSION = text(
    """
    INSERT INTO version (pipeline_id, number, lua, definition, digest, created_at)
    VALUES (:pipeline, :number, 'return {}', '{}', 'd', :at) RETURNING id
    """
)
_RUNS = text(
    """
    WITH numbered AS (
        UPDATE pipeline SET next_run = next_run + cardinality(CAST(:ids AS uuid[])) WHERE id = :pipeline
        RETURNING project_id, next_run - cardinality(CAST(:ids AS uuid[])) AS first
    )
    INSERT INTO run (id, project_id, pipeline_id, version_id, number, status, inputs, facts, plan, actor, trigger,
                     created_at, started_at, ended_at)
    SELECT made.id, project_id, :pipeline, :version, first + made.place - 1, :status, '{}', '{}',
           CAST(:plan AS json), 'alice', 'api', made.at, made.at,
           CASE WHEN :has_ended THEN made.at + CAST(:took AS interval) END
    FROM numbered, unnest(CAST(:ids AS uuid[]), CAST(:starts AS timestamptz[])) WITH ORDINALITY AS made(id, at, place)
    """
)
# What hangs on a run has the run's id with its last bits changed: nobody looks at those.
_OF_RUNS = [
    text(statement)
    for statement in (
        "INSERT INTO run_clock (run_id, pos, lines) SELECT id, 2 + :chunks, :chunks * :lines FROM unnest(CAST(:ids AS uuid[])) AS id",
        """
        INSERT INTO job (id, run_id, ordinal, queue, status, epoch, on_lost, started_at, ended_at, waits_for, is_last)
        SELECT gen_random_uuid(), run.id, 1, 'default', CASE WHEN :has_ended THEN run.status ELSE 'running' END, 1,
               'error', started_at, ended_at, '{}', false
        FROM run WHERE id = ANY (CAST(:ids AS uuid[]))
        """,
        """
        INSERT INTO stage (id, run_id, job_id, key, name, ordinal, status, env, timeout_s, spec, attempts)
        SELECT gen_random_uuid(), job.run_id, job.id, 'build', 'build', 1, job.status, '{}', 60,
               '{"path": ["stages", 1]}', 1
        FROM job WHERE run_id = ANY (CAST(:ids AS uuid[]))
        """,
        """
        INSERT INTO attempt (stage_id, number, job_id, epoch, status, runner, exit_code, started_at, ended_at, lines)
        SELECT stage.id, 1, job.id, 1, stage.status, 'r', 0, job.started_at, job.ended_at, :chunks * :lines
        FROM stage JOIN job ON job.id = stage.job_id WHERE job.run_id = ANY (CAST(:ids AS uuid[]))
        """,
        """
        INSERT INTO record (run_id, pos, type, at, job_id, epoch, seq, stage, attempt, late, first_line, lines, data, body)
        SELECT job.run_id, 1 + place, 'log', job.started_at, job.id, 1, place, 'build', 1, false,
               1 + (place - 1) * :lines, :lines, CAST(:head AS json), :body
        FROM job, generate_series(1, :chunks) AS place WHERE job.run_id = ANY (CAST(:ids AS uuid[]))
        """,
        """
        INSERT INTO record (run_id, pos, type, at, late, data, body)
        SELECT id, 2 + :chunks, 'run_ended', ended_at, false, '{"status": "passed"}', '' FROM run
        WHERE id = ANY (CAST(:ids AS uuid[])) AND ended_at IS NOT NULL
        """,
    )
]


def make_runs(
    connection: Connection,
    starts: Sequence[datetime],
    *,
    pipeline: str = "demo",
    status: str = "passed",
    took: timedelta = TOOK,
    chunks: int = 1,
    width: int = 100,
    published: bool = True,
) -> list[UUID]:
    """A run for each start; each has one stage whose log is `chunks` times two lines of `width` characters
    that no packing makes smaller than half."""
    if not starts:
        return []
    home = connection.execute(_PIPELINE, {"slug": pipeline}).scalar_one()
    number = None
    if published:
        taken = "UPDATE pipeline SET next_version = next_version + 1 WHERE id = :p RETURNING next_version - 1"
        number = connection.execute(text(taken), {"p": home}).scalar_one()
    at = min(starts)
    version = connection.execute(_VERSION, {"pipeline": home, "number": number, "at": at}).scalar_one()
    ids = [UUID(int=id_at(start).int | 7 << 76 | 2 << 62 | secrets.randbits(62)) for start in starts]
    lines = [secrets.token_hex(width // 2) for _ in range(2)]
    chunk = Chunk(1, lines, [Mark(0, at.isoformat(), "stdout", None)])
    told = {
        "ids": ids, "starts": list(starts), "pipeline": home, "version": version, "status": status,
        "plan": json.dumps(asdict(PLAN)), "has_ended": status in FINISHED_RUN, "took": took, "chunks": chunks,
        "lines": 2, "head": json.dumps(chunk.header()),
        "body": zstandard.compress(chunk.body()),
    }
    connection.execute(_RUNS, told)
    for statement in _OF_RUNS:
        connection.execute(statement, told)
    return ids
