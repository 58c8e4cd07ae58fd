"""Artifacts of runs: which there are, and what each consists of."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from rivet.domain.artifact import Artifact, Contents
from rivet.domain.blob import Manifest
from rivet.domain.ids import RunId, StageKey
from rivet.store.blobs import PostgresBlobs
from rivet.store.kept_tables import ARTIFACT, BLOB
from rivet.store.tables import AnyRow

_WHOLE = select(*ARTIFACT.c, BLOB.c.size, BLOB.c.sha256, BLOB.c.pieces).join(
    BLOB, BLOB.c.id == ARTIFACT.c.blob_id
)
_GET = _WHOLE.where(ARTIFACT.c.run_id == bindparam("run"), ARTIFACT.c.name == bindparam("called"))
_EXPIRED_AT = select(ARTIFACT.c.expired_at).where(
    ARTIFACT.c.run_id == bindparam("run"), ARTIFACT.c.name == bindparam("called")
)
_HELD = (
    select(ARTIFACT.c.stage, ARTIFACT.c.blob_id)
    .where(ARTIFACT.c.run_id == bindparam("run"), ARTIFACT.c.name == bindparam("called"))
    .with_for_update()
)
_NEW = upsert(ARTIFACT)
_PUT = _NEW.on_conflict_do_update(
    index_elements=["run_id", "name"],
    set_={
        name: _NEW.excluded[name]
        for name in (
            *("attempt", "form", "filename", "root", "files", "blob_id", "created_at"),
            *("expired_at", "expired_size"),
        )
    },
    where=ARTIFACT.c.stage == _NEW.excluded.stage,
)
# The attempt is the one that it had there: in this run the stage has none.
_COPY = text(
    """
    INSERT INTO artifact
        (run_id, name, stage, attempt, form, filename, root, files, blob_id, expired_at, expired_size)
    SELECT :run, name, stage, attempt, form, filename, root, files, blob_id, expired_at, expired_size
    FROM artifact
    WHERE run_id = :origin AND stage = ANY (:stages)
    """
)


class PostgresArtifacts:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, run: RunId, name: str) -> Artifact | None:
        row = self._connection.execute(_GET, {"run": run, "called": name}).one_or_none()
        return _artifact(row) if row else None

    def expired_at(self, run: RunId, name: str) -> datetime | None:
        return self._connection.execute(_EXPIRED_AT, {"run": run, "called": name}).scalar_one_or_none()

    def put(
        self, run: RunId, name: str, stage: StageKey, attempt: int, contents: Contents, blob: UUID
    ) -> bool:
        before = self._connection.execute(_HELD, {"run": run, "called": name}).one_or_none()
        told = {"run_id": run, "name": name, "stage": stage, "attempt": attempt, "blob_id": blob}
        put = self._connection.execute(_PUT, {**told, **columns_of(contents)})
        if put.rowcount == 1 and before is not None and before.blob_id is not None:
            PostgresBlobs(self._connection).forget(before.blob_id)
        return put.rowcount == 1

    def copy(self, origin: RunId, run: RunId, stages: Sequence[StageKey]) -> None:
        self._connection.execute(_COPY, {"origin": origin, "run": run, "stages": list(stages)})


def columns_of(contents: Contents) -> Mapping[str, Any]:
    """What a row has of its contents besides the blob."""
    return {
        "form": contents.form, "filename": contents.filename, "root": contents.root, "files": contents.files
    }


def contents_of(row: AnyRow) -> Contents:
    """From a row that is joined with its blob."""
    blob = Manifest.of_stored(row.size, bytes(row.sha256), bytes(row.pieces))
    return Contents(row.form, row.filename, row.root, row.files, blob)


def _artifact(row: AnyRow) -> Artifact:
    return Artifact(
        run_id=RunId(row.run_id),
        name=row.name,
        stage=StageKey(row.stage),
        attempt=row.attempt,
        contents=contents_of(row),
        created_at=row.created_at,
    )
