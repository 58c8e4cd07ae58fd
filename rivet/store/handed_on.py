"""What goes from job to job by way of blobs: whole workspaces, and files that stages keep."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from rivet.domain.artifact import Contents
from rivet.domain.ids import RunId, StageKey
from rivet.domain.job import Job
from rivet.domain.keeping import Paths
from rivet.store.artifacts import columns_of, contents_of
from rivet.store.blobs import PostgresBlobs
from rivet.store.kept_tables import BLOB, KEPT_FILES, SNAPSHOT
from rivet.store.tables import JOB, RUN

_CONTENTS = ("form", "filename", "root", "files", "blob_id", "created_at")
_GET = (
    select(*SNAPSHOT.c, BLOB.c.size, BLOB.c.sha256, BLOB.c.pieces)
    .join(BLOB, BLOB.c.id == SNAPSHOT.c.blob_id)
    .where(SNAPSHOT.c.job_id == bindparam("job"), SNAPSHOT.c.epoch == bindparam("in_epoch"))
)
_BLOB_OF_JOB = select(SNAPSHOT.c.blob_id).where(SNAPSHOT.c.job_id == bindparam("job"))
_NEW = upsert(SNAPSHOT)
_PUT = _NEW.on_conflict_do_update(
    index_elements=["job_id"], set_={name: _NEW.excluded[name] for name in ("epoch", *_CONTENTS)}
)
_OF_RUN = (
    select(
        *(KEPT_FILES.c[name] for name in ("stage", *_CONTENTS)), BLOB.c.size, BLOB.c.sha256, BLOB.c.pieces
    )
    .join(BLOB, BLOB.c.id == KEPT_FILES.c.blob_id)
    .where(KEPT_FILES.c.run_id == bindparam("run"))
)
_PATHS = select(KEPT_FILES.c.stage, KEPT_FILES.c.paths).where(
    KEPT_FILES.c.run_id == bindparam("run"), KEPT_FILES.c.stage.in_(bindparam("stages", expanding=True))
)
_BLOB_OF_STAGE = select(KEPT_FILES.c.blob_id).where(
    KEPT_FILES.c.run_id == bindparam("run"), KEPT_FILES.c.stage == bindparam("of_stage")
)
_NEW_KEPT = upsert(KEPT_FILES)
_PUT_KEPT = _NEW_KEPT.on_conflict_do_update(
    index_elements=["run_id", "stage"],
    set_={name: _NEW_KEPT.excluded[name] for name in ("paths", *_CONTENTS)},
)

# Their blobs, to which nothing refers then, go with all others that are unused.
_ENDED = RUN.c.ended_at < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, bindparam("for_s"))
_FORGET_SNAPSHOTS = delete(SNAPSHOT).where(
    SNAPSHOT.c.job_id.in_(select(JOB.c.id).join(RUN, RUN.c.id == JOB.c.run_id).where(_ENDED))
)
_FORGET_KEPT = delete(KEPT_FILES).where(KEPT_FILES.c.run_id.in_(select(RUN.c.id).where(_ENDED)))

_COPY_SNAPSHOT = text(
    """
    INSERT INTO snapshot (job_id, epoch, form, filename, root, files, blob_id)
    SELECT :job, :epoch, form, filename, root, files, blob_id FROM snapshot
    WHERE job_id = :origin AND epoch = :origin_epoch
    """
)
_COPY_KEPT = text(
    """
    INSERT INTO kept_files (run_id, stage, form, filename, root, files, paths, blob_id)
    SELECT :run, stage, form, filename, root, files, paths, blob_id FROM kept_files
    WHERE run_id = :origin AND stage = ANY (:stages)
    """
)


class PostgresSnapshots:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, job: Job, contents: Contents, blob: UUID) -> None:
        before = self._connection.execute(_BLOB_OF_JOB, {"job": job.id}).scalar_one_or_none()
        told: dict[str, Any] = {"job_id": job.id, "epoch": job.epoch, "blob_id": blob}
        self._connection.execute(_PUT, {**told, **columns_of(contents)})
        if before is not None:
            PostgresBlobs(self._connection).forget(before)

    def get(self, job: Job) -> Contents | None:
        row = self._connection.execute(_GET, {"job": job.id, "in_epoch": job.epoch}).one_or_none()
        return contents_of(row) if row else None

    def copy(self, origin: Job, job: Job) -> None:
        told = {"origin": origin.id, "origin_epoch": origin.epoch, "job": job.id, "epoch": job.epoch}
        self._connection.execute(_COPY_SNAPSHOT, told)

    def forget_of_ended(self, for_s: float) -> int:
        return self._connection.execute(_FORGET_SNAPSHOTS, {"for_s": for_s}).rowcount


class PostgresKeeps:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, run: RunId, stage: StageKey, contents: Contents, paths: Paths, blob: UUID) -> None:
        asked = {"run": run, "of_stage": stage}
        before = self._connection.execute(_BLOB_OF_STAGE, asked).scalar_one_or_none()
        told: dict[str, Any] = {"run_id": run, "stage": stage, "paths": dict(paths), "blob_id": blob}
        self._connection.execute(_PUT_KEPT, {**told, **columns_of(contents)})
        if before is not None:
            PostgresBlobs(self._connection).forget(before)

    def copy(self, origin: RunId, run: RunId, stages: Sequence[StageKey]) -> None:
        self._connection.execute(_COPY_KEPT, {"origin": origin, "run": run, "stages": list(stages)})

    def of_run(self, run: RunId) -> Mapping[StageKey, Contents]:
        rows = self._connection.execute(_OF_RUN, {"run": run})
        return {StageKey(row.stage): contents_of(row) for row in rows}

    def forget_of_ended(self, for_s: float) -> int:
        return self._connection.execute(_FORGET_KEPT, {"for_s": for_s}).rowcount

    def paths(self, run: RunId, stages: Sequence[StageKey]) -> Mapping[StageKey, Paths]:
        if not stages:
            return {}
        rows = self._connection.execute(_PATHS, {"run": run, "stages": list(stages)})
        found = {row.stage: row.paths for row in rows}
        return {stage: found[stage] for stage in stages if stage in found}
