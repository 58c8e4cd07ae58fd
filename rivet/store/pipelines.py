"""Projects, pipelines and their versions."""

import threading
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, text, union, update
from sqlalchemy.dialects.postgresql import insert as upsert

from rivet.domain.errors import NotFound
from rivet.domain.ids import PipelineId, ProjectId, VersionId
from rivet.domain.pause import Paused
from rivet.engine.ports import Found, Pipeline, Project, Published, Version
from rivet.store.blobs import PostgresBlobs
from rivet.store.kept_tables import ARTIFACT, CACHE, KEPT_FILES, SNAPSHOT
from rivet.store.plain_json import storable
from rivet.store.record_days import forget_records
from rivet.store.seen import Seen
from rivet.store.tables import JOB, PAUSE, PIPELINE, PROJECT, RUN, VERSION, AnyRow

KNOWN, KNOWN_CHARS = 64, 64 * 1024
"""How many versions are remembered, and how long a source may be."""

_PIPELINE = (
    PIPELINE.c.id,
    PIPELINE.c.project_id,
    PIPELINE.c.slug,
    PIPELINE.c.name,
    PIPELINE.c.created_at,
)
_VERSION = (
    VERSION.c.id,
    VERSION.c.pipeline_id,
    VERSION.c.number,
    VERSION.c.lua,
    VERSION.c.definition,
    VERSION.c.digest,
    VERSION.c.created_at,
)

_PROJECT_BY_SLUG = select(PROJECT.c.id, PROJECT.c.slug).where(
    PROJECT.c.slug == bindparam("slug"), PROJECT.c.deleted_at.is_(None)
)
_BY_SLUG = select(*_PIPELINE).where(
    PIPELINE.c.project_id == bindparam("project"), PIPELINE.c.slug == bindparam("slug")
)
_ADD = upsert(PIPELINE).on_conflict_do_nothing()
_TAKE_RUN = (
    update(PIPELINE)
    .where(PIPELINE.c.id == bindparam("pipeline"))
    .values(next_run=PIPELINE.c.next_run + 1)
    .returning((PIPELINE.c.next_run - 1).label("number"), func.now().label("now"))
)
_TAKE_VERSION = (
    update(PIPELINE)
    .where(PIPELINE.c.id == bindparam("pipeline"))
    .values(next_version=PIPELINE.c.next_version + 1)
    .returning(PIPELINE.c.next_version - 1)
)
_ADD_VERSION = insert(VERSION).returning(*_VERSION)
_VERSION_BY_ID = select(*_VERSION).where(VERSION.c.id == bindparam("version"))
_PUBLISHED = select(*_VERSION).where(
    VERSION.c.pipeline_id == bindparam("pipeline"), VERSION.c.number == bindparam("number")
)
_NEWEST = (
    select(*_VERSION)
    .where(VERSION.c.pipeline_id == bindparam("pipeline"), VERSION.c.number.is_not(None))
    .order_by(VERSION.c.number.desc())
    .limit(1)
)
_FIND = text(
    f"""
    SELECT project.id AS home_id, project.slug AS home, {", ".join(map(str, _PIPELINE))},
           newest.id AS newest_id, newest.lua AS newest_lua
    FROM project
    LEFT JOIN pipeline ON pipeline.project_id = project.id AND pipeline.slug = :slug
    LEFT JOIN LATERAL (
        SELECT version.id, version.lua FROM version
        WHERE version.pipeline_id = pipeline.id AND version.number IS NOT NULL
        ORDER BY version.number DESC LIMIT 1
    ) AS newest ON true
    WHERE project.slug = :project AND project.deleted_at IS NULL
    """
)
_BOUND = (
    update(PIPELINE)
    .where(PIPELINE.c.id == bindparam("pipeline"))
    .values(keep_days=bindparam("days"), keep_runs=bindparam("runs"))
)
_LOCK = select(PIPELINE.c.id).where(PIPELINE.c.id == bindparam("pipeline")).with_for_update()
_OF_PIPELINE = RUN.c.pipeline_id == bindparam("pipeline")
_GOING_ON = select(func.count()).select_from(RUN).where(_OF_PIPELINE, RUN.c.ended_at.is_(None))
_BLOBS = union(
    select(ARTIFACT.c.blob_id).join(RUN, RUN.c.id == ARTIFACT.c.run_id).where(_OF_PIPELINE),
    select(KEPT_FILES.c.blob_id).join(RUN, RUN.c.id == KEPT_FILES.c.run_id).where(_OF_PIPELINE),
    select(SNAPSHOT.c.blob_id)
    .join(JOB, JOB.c.id == SNAPSHOT.c.job_id)
    .join(RUN, RUN.c.id == JOB.c.run_id)
    .where(_OF_PIPELINE),
    select(CACHE.c.blob_id).where(CACHE.c.pipeline_id == bindparam("pipeline")),
)
_RUNS = select(RUN.c.id).where(_OF_PIPELINE)
_DELETE = (
    delete(RUN).where(_OF_PIPELINE),
    delete(VERSION).where(VERSION.c.pipeline_id == bindparam("pipeline")),
    delete(PAUSE).where(PAUSE.c.kind == Paused.PIPELINE, PAUSE.c.target == bindparam("target")),
    delete(PIPELINE).where(PIPELINE.c.id == bindparam("pipeline")),
)


class KnownVersions:
    """Versions never change: those that were read lately are not read again by this process.

    That one is known does not say that its pipeline is still there: whoever asks has its run.
    """

    def __init__(self) -> None:
        self._known: dict[VersionId, Version] = {}
        self._guard = threading.Lock()

    def get(self, version: VersionId) -> Version | None:
        return self._known.get(version)

    def put(self, version: Version) -> None:
        if len(version.lua) > KNOWN_CHARS:
            return
        with self._guard:
            while len(self._known) >= KNOWN:
                del self._known[next(iter(self._known))]
            self._known[version.id] = version


class PostgresPipelines:
    def __init__(self, connection: Connection, seen: Seen, known: KnownVersions) -> None:
        self._connection = connection
        self._seen = seen
        self._known = known

    def project(self, slug: str) -> Project | None:
        row = self._connection.execute(_PROJECT_BY_SLUG, {"slug": storable(slug)}).one_or_none()
        return Project(ProjectId(row.id), row.slug) if row else None

    def find(self, project: str, slug: str) -> Found | None:
        asked = {"project": storable(project), "slug": storable(slug)}
        row = self._connection.execute(_FIND, asked).one_or_none()
        if row is None:
            return None
        newest = None if row.newest_id is None else Published(VersionId(row.newest_id), row.newest_lua)
        known = None if row.id is None else _pipeline(row)
        return Found(Project(ProjectId(row.home_id), row.home), known, newest)

    def get(self, project: ProjectId, slug: str) -> Pipeline | None:
        row = self._connection.execute(
            _BY_SLUG, {"project": project, "slug": storable(slug)}
        ).one_or_none()
        return _pipeline(row) if row else None

    def add(self, project: ProjectId, slug: str, name: str) -> Pipeline:
        # An insert that meets another's waits for its end, so the row is there and seen afterwards.
        self._connection.execute(
            _ADD, {"project_id": project, "slug": slug, "name": storable(name)}
        )
        return _pipeline(self._connection.execute(_BY_SLUG, {"project": project, "slug": slug}).one())

    def take_run_number(self, pipeline: PipelineId) -> int:
        row = self._connection.execute(_TAKE_RUN, {"pipeline": pipeline}).one_or_none()
        if row is None:
            raise NotFound("the pipeline was deleted just now")
        self._seen.now = row.now
        return int(row.number)

    def add_version(
        self, pipeline: PipelineId, lua: str, definition: Mapping[str, Any], digest: str, *, publish: bool
    ) -> Version:
        number = None
        if publish:
            number = self._connection.execute(_TAKE_VERSION, {"pipeline": pipeline}).scalar_one()
        row = self._connection.execute(
            _ADD_VERSION,
            {
                "pipeline_id": pipeline,
                "number": number,
                "lua": lua,
                "definition": definition,
                "digest": digest,
            },
        ).one()
        return _version(row)

    def version(self, version: VersionId) -> Version | None:
        known = self._known.get(version)
        if known is None:
            row = self._connection.execute(_VERSION_BY_ID, {"version": version}).one_or_none()
            if row is None:
                return None
            known = _version(row)
            self._known.put(known)
        return known

    def published(self, pipeline: PipelineId, number: int | None = None) -> Version | None:
        if number is not None and not 0 < number < 2**31:
            return None
        found = self._connection.execute(
            _NEWEST if number is None else _PUBLISHED, {"pipeline": pipeline, "number": number}
        ).one_or_none()
        return _version(found) if found else None


    def bound(self, pipeline: PipelineId, keep_days: int | None, keep_runs: int | None) -> bool:
        asked = {"pipeline": pipeline, "days": keep_days, "runs": keep_runs}
        return self._connection.execute(_BOUND, asked).rowcount == 1

    def delete(self, pipeline: PipelineId) -> int:
        named = {"pipeline": pipeline}
        # Who starts a run takes its number from this row: none begins from here on.
        self._connection.execute(_LOCK, named)
        going_on = int(self._connection.execute(_GOING_ON, named).scalar_one())
        if going_on:
            return going_on
        blobs = [blob for blob in self._connection.execute(_BLOBS, named).scalars() if blob is not None]
        forget_records(self._connection.execute(_RUNS, named).scalars().all(), self._connection)
        for statement in _DELETE:
            self._connection.execute(statement, named | {"target": str(pipeline)})
        kept = PostgresBlobs(self._connection)
        for blob in blobs:
            kept.forget(blob)
        return 0


def _pipeline(row: AnyRow) -> Pipeline:
    return Pipeline(PipelineId(row.id), ProjectId(row.project_id), row.slug, row.name, row.created_at)


def _version(row: AnyRow) -> Version:
    return Version(
        id=VersionId(row.id),
        pipeline_id=PipelineId(row.pipeline_id),
        number=row.number,
        lua=row.lua,
        definition=row.definition,
        digest=row.digest,
        created_at=row.created_at,
    )
