"""Pipelines, versions, runners and the system's own health as the API shows them."""

from typing import Any

from sqlalchemy import Engine, text

from rivet.store.failures import told_as_unavailable
from rivet.store.plain_json import storable
from rivet.store.records import iso

_NEWEST = """
    LEFT JOIN LATERAL (
        SELECT number, lua, created_at FROM version
        WHERE version.pipeline_id = pipeline.id AND version.number IS NOT NULL
        ORDER BY version.number DESC LIMIT 1
    ) AS newest ON true
"""
_PAUSE_OF_PIPELINE = """
    LEFT JOIN pause ON pause.kind = 'pipeline' AND pause.target = CAST(pipeline.id AS text)
"""
_PAUSED = "pause.why, pause.actor, pause.since"
_PIPELINES = text(
    """
    SELECT pipeline.slug, pipeline.name, pipeline.created_at, pipeline.keep_days, pipeline.keep_runs,
           newest.number, newest.created_at AS updated_at, """
    + _PAUSED
    + """
    FROM pipeline JOIN project ON project.id = pipeline.project_id
    """
    + _NEWEST
    + _PAUSE_OF_PIPELINE
    + """
    WHERE project.slug = :project AND (CAST(:after AS text) IS NULL OR pipeline.slug > :after)
    ORDER BY pipeline.slug LIMIT :most
    """
)
_PIPELINE = text(
    """
    SELECT pipeline.slug, pipeline.name, pipeline.created_at, pipeline.keep_days, pipeline.keep_runs,
           newest.number, newest.lua, newest.created_at AS updated_at, """
    + _PAUSED
    + """
    FROM pipeline JOIN project ON project.id = pipeline.project_id
    """
    + _NEWEST
    + _PAUSE_OF_PIPELINE
    + "WHERE project.slug = :project AND pipeline.slug = :slug"
)
_VERSIONS = text(
    """
    SELECT version.number, version.digest, version.created_at, version.lua
    FROM version JOIN pipeline ON pipeline.id = version.pipeline_id
    JOIN project ON project.id = pipeline.project_id
    WHERE project.slug = :project AND pipeline.slug = :slug AND version.number IS NOT NULL
      AND (CAST(:before AS integer) IS NULL OR version.number < :before)
    ORDER BY version.number DESC LIMIT :most
    """
)
_HAS_PROJECT = text("SELECT EXISTS (SELECT FROM project WHERE slug = :project AND deleted_at IS NULL)")
_PROJECTS = text(
    """
    SELECT project.slug, project.created_at,
           (SELECT count(*) FROM pipeline WHERE pipeline.project_id = project.id) AS pipelines
    FROM project
    WHERE project.deleted_at IS NULL AND (CAST(:after AS text) IS NULL OR project.slug > :after)
      AND (CAST(:slug AS text) IS NULL OR project.slug = :slug)
    ORDER BY project.slug LIMIT :most
    """
)
_RUNNERS = text(
    """
    SELECT runner.name, runner.status, runner.queues, runner.slots, runner.free_slots, runner.isolation,
           runner.version, runner.protocol, runner.registered_at, runner.seen_at,
           runner.seen_at > now() - make_interval(secs => :lease) AS is_heard,
           (SELECT count(*) FROM job WHERE job.session = runner.session AND job.status = 'running') AS jobs,
           """
    + _PAUSED
    + """
    FROM runner LEFT JOIN pause ON pause.kind = 'runner' AND pause.target = runner.name
    WHERE CAST(:after AS text) IS NULL OR name > :after ORDER BY name LIMIT :most
    """
)
_QUEUES = text(
    """
    WITH served AS (
        SELECT unnest(runner.queues) AS name, runner.status = 'online'
               AND runner.seen_at > now() - make_interval(secs => :lease) AS is_online
        FROM runner
    ), held AS (
        SELECT job.queue AS name, job.status FROM job WHERE job.status IN ('queued', 'running')
    ), known AS (
        SELECT name FROM served UNION SELECT name FROM held
        UNION SELECT target FROM pause WHERE kind = 'queue'
    )
    SELECT known.name, """
    + _PAUSED
    + """,
           (SELECT count(*) FROM held WHERE held.name = known.name AND held.status = 'queued') AS queued,
           (SELECT count(*) FROM held WHERE held.name = known.name AND held.status = 'running') AS running,
           (SELECT count(*) FROM served WHERE served.name = known.name AND served.is_online) AS runners
    FROM known LEFT JOIN pause ON pause.kind = 'queue' AND pause.target = known.name
    WHERE CAST(:after AS text) IS NULL OR known.name > :after ORDER BY known.name LIMIT :most
    """
)
_HAS_BEAT = text(
    """
    SELECT EXISTS (
        SELECT FROM part WHERE starts_with(name, :prefix) AND beat_at > now() - make_interval(secs => :within)
    )
    """
)

Shown = dict[str, Any]


class StoredReads:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def has_project(self, project: str) -> bool:
        return bool(self._rows(_HAS_PROJECT, project=project)[0][0])

    def pipelines(self, project: str, *, after: str | None, limit: int) -> tuple[list[Shown], str | None]:
        rows = self._rows(_PIPELINES, project=project, after=after, most=limit + 1)
        items = [_pipeline(row, project) for row in rows[:limit]]
        return items, rows[limit - 1].slug if len(rows) > limit else None

    def pipeline(self, project: str, slug: str) -> Shown | None:
        """With the source of its newest version."""
        rows = self._rows(_PIPELINE, project=project, slug=slug)
        return _pipeline(rows[0], project) | {"source": rows[0].lua} if rows else None

    def versions(
        self, project: str, slug: str, *, before: int | None, limit: int
    ) -> tuple[list[Shown], str | None]:
        """Published ones, newest first."""
        rows = self._rows(_VERSIONS, project=project, slug=slug, before=before, most=limit + 1)
        items = [
            {
                "number": row.number,
                "digest": row.digest,
                "created_at": iso(row.created_at),
                "source": row.lua,
            }
            for row in rows[:limit]
        ]
        return items, str(rows[limit - 1].number) if len(rows) > limit else None

    def projects(self, *, after: str | None, limit: int) -> tuple[list[Shown], str | None]:
        rows = self._rows(_PROJECTS, after=after, slug=None, most=limit + 1)
        return [_project(row) for row in rows[:limit]], rows[limit - 1].slug if len(rows) > limit else None

    def project(self, slug: str) -> Shown | None:
        rows = self._rows(_PROJECTS, after=None, slug=slug, most=1)
        return _project(rows[0]) if rows else None

    def runners(
        self, lease_s: float, *, after: str | None, limit: int
    ) -> tuple[list[Shown], str | None]:
        rows = self._rows(_RUNNERS, lease=lease_s, after=after, most=limit + 1)
        items = [
            {
                "name": row.name,
                "status": row.status if row.is_heard or row.status == "offline" else "lost",
                "queues": list(row.queues),
                "slots": row.slots,
                "free_slots": row.free_slots,
                "jobs": row.jobs,
                "isolation": row.isolation,
                "version": row.version,
                "protocol": row.protocol,
                "registered_at": iso(row.registered_at),
                "seen_at": iso(row.seen_at),
                "paused": _paused(row),
            }
            for row in rows[:limit]
        ]
        return items, rows[limit - 1].name if len(rows) > limit else None

    def queues(self, lease_s: float, *, after: str | None, limit: int) -> tuple[list[Shown], str | None]:
        """Those that a runner serves, that a job waits for, or that are paused."""
        rows = self._rows(_QUEUES, lease=lease_s, after=after, most=limit + 1)
        items = [
            {
                "name": row.name,
                "queued": row.queued,
                "running": row.running,
                "runners": row.runners,
                "paused": _paused(row),
            }
            for row in rows[:limit]
        ]
        return items, rows[limit - 1].name if len(rows) > limit else None

    def has_beat(self, prefix: str, within_s: float) -> bool:
        """Was a part of that prefix heard of lately?"""
        return bool(self._rows(_HAS_BEAT, prefix=prefix, within=within_s)[0][0])

    def _rows(self, statement: Any, **values: Any) -> Any:
        plain = {
            name: storable(value) if isinstance(value, str) else value for name, value in values.items()
        }
        with told_as_unavailable(), self._engine.connect() as connection:
            return connection.execute(statement, plain).all()


def _project(row: Any) -> Shown:
    return {"name": row.slug, "pipelines": row.pipelines, "created_at": iso(row.created_at)}


def _pipeline(row: Any, project: str) -> Shown:
    return {
        "slug": row.slug,
        "name": row.name,
        "project": project,
        "version": row.number,
        "created_at": iso(row.created_at),
        "updated_at": iso(row.updated_at or row.created_at),
        "keep_days": row.keep_days,
        "keep_runs": row.keep_runs,
        "paused": _paused(row),
    }


def _paused(row: Any) -> Shown | None:
    return None if row.since is None else {"why": row.why, "actor": row.actor, "since": iso(row.since)}
