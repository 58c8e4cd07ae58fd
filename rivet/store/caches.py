"""Caches of pipelines, by shelf and key."""

from uuid import UUID

from sqlalchemy import Connection, bindparam, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from rivet.domain.artifact import Contents
from rivet.domain.cache import Cache, Look, Shelf
from rivet.store.artifacts import columns_of, contents_of
from rivet.store.kept_tables import CACHE

_FIND = text(
    """
    WITH found AS (
        UPDATE cache SET used_at = now() WHERE id = (
            SELECT id FROM cache
            WHERE pipeline_id = :pipeline AND branch = :branch
              AND (key = :wanted OR (:is_prefix AND starts_with(key, :wanted)))
            ORDER BY created_at DESC LIMIT 1
        )
        RETURNING *
    )
    SELECT found.key, found.form, found.filename, found.root, found.files, found.created_at,
           blob.size, blob.sha256, blob.pieces
    FROM found JOIN blob ON blob.id = found.blob_id
    """
)
_HAS = select(CACHE.c.id).where(
    CACHE.c.pipeline_id == bindparam("pipeline"),
    CACHE.c.branch == bindparam("of_branch"),
    CACHE.c.key == bindparam("wanted"),
)
_ADD = upsert(CACHE).on_conflict_do_nothing(index_elements=["pipeline_id", "branch", "key"])


class PostgresCaches:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, look: Look) -> Cache | None:
        row = self._connection.execute(
            _FIND,
            {
                "pipeline": look.shelf.pipeline_id,
                "branch": look.shelf.branch,
                "wanted": look.key,
                "is_prefix": look.is_prefix,
            },
        ).one_or_none()
        return Cache(look.shelf, row.key, contents_of(row), row.created_at) if row else None

    def has(self, shelf: Shelf, key: str) -> bool:
        asked = {"pipeline": shelf.pipeline_id, "of_branch": shelf.branch, "wanted": key}
        return self._connection.execute(_HAS, asked).first() is not None

    def add(self, shelf: Shelf, key: str, contents: Contents, blob: UUID) -> bool:
        added = self._connection.execute(
            _ADD,
            {
                "project_id": shelf.project_id,
                "pipeline_id": shelf.pipeline_id,
                "branch": shelf.branch,
                "key": key,
                "blob_id": blob,
                **columns_of(contents),
            },
        )
        return added.rowcount == 1
