"""Folders that were uploaded for runs to start from, by the SHA-256 of what was sent."""

from uuid import UUID

from sqlalchemy import Connection, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from rivet.domain.blob import Manifest
from rivet.domain.ids import ProjectId
from rivet.store.kept_tables import BLOB, FOLDER

_HERE = (FOLDER.c.project_id == bindparam("project"), FOLDER.c.sha256 == bindparam("digest"))
_GET = (
    select(BLOB.c.size, BLOB.c.sha256, BLOB.c.pieces)
    .join(FOLDER, FOLDER.c.blob_id == BLOB.c.id)
    .where(*_HERE)
)
_TOUCH = update(FOLDER).where(*_HERE).values(used_at=func.now())
_ADD = upsert(FOLDER).on_conflict_do_nothing()


class PostgresFolders:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, project: ProjectId, digest: str) -> Manifest | None:
        row = self._connection.execute(_GET, _named(project, digest)).one_or_none()
        return None if row is None else Manifest.of_stored(row.size, bytes(row.sha256), bytes(row.pieces))

    def touch(self, project: ProjectId, digest: str) -> bool:
        return self._connection.execute(_TOUCH, _named(project, digest)).rowcount == 1

    def add(self, project: ProjectId, digest: str, blob: UUID) -> bool:
        told = {"project_id": project, "sha256": bytes.fromhex(digest), "blob_id": blob}
        return self._connection.execute(_ADD, told).rowcount == 1


def _named(project: ProjectId, digest: str) -> dict[str, object]:
    return {"project": project, "digest": bytes.fromhex(digest)}
