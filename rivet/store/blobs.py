"""Which pieces there are, and which of them a blob consists of. The bytes themselves are elsewhere."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from rivet.domain.blob import Manifest
from rivet.domain.ids import ProjectId
from rivet.store.kept_tables import ARTIFACT, BLOB, CACHE, FOLDER, KEPT_FILES, PIECE, SNAPSHOT

_NEW_PIECE = upsert(PIECE)
_ADD_PIECE = _NEW_PIECE.on_conflict_do_update(
    index_elements=["project_id", "sha256"], set_={"used_at": func.now()}
)
_TOUCH = (
    update(PIECE)
    .where(PIECE.c.project_id == bindparam("project"), PIECE.c.sha256 == bindparam("digest"))
    .values(used_at=func.now())
)
_SIZES = select(PIECE.c.sha256, PIECE.c.size).where(
    PIECE.c.project_id == bindparam("project"), PIECE.c.sha256.in_(bindparam("digests", expanding=True))
)
_ADD = insert(BLOB).returning(BLOB.c.id)
_FORGET = delete(BLOB).where(
    BLOB.c.id == bindparam("blob"),
    ~select(ARTIFACT.c.run_id).where(ARTIFACT.c.blob_id == bindparam("blob")).exists(),
    ~select(CACHE.c.id).where(CACHE.c.blob_id == bindparam("blob")).exists(),
    ~select(SNAPSHOT.c.job_id).where(SNAPSHOT.c.blob_id == bindparam("blob")).exists(),
    ~select(FOLDER.c.blob_id).where(FOLDER.c.blob_id == bindparam("blob")).exists(),
    ~select(KEPT_FILES.c.run_id).where(KEPT_FILES.c.blob_id == bindparam("blob")).exists(),
)
_AT_ONCE = 1000


class PostgresBlobs:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add_piece(self, project: ProjectId, digest: str, size: int, stored: int) -> None:
        self._connection.execute(
            _ADD_PIECE,
            {"project_id": project, "sha256": bytes.fromhex(digest), "size": size, "stored": stored},
        )

    def touch_piece(self, project: ProjectId, digest: str) -> bool:
        touched = self._connection.execute(_TOUCH, {"project": project, "digest": bytes.fromhex(digest)})
        return touched.rowcount == 1

    def sizes(self, project: ProjectId, digests: Iterable[str]) -> Mapping[str, int]:
        wanted = sorted({bytes.fromhex(digest) for digest in digests})
        found: dict[str, int] = {}
        for at in range(0, len(wanted), _AT_ONCE):
            rows = self._connection.execute(
                _SIZES, {"project": project, "digests": wanted[at : at + _AT_ONCE]}
            )
            found |= {bytes(row.sha256).hex(): row.size for row in rows}
        return found

    def add(self, project: ProjectId, manifest: Manifest) -> UUID:
        row = self._connection.execute(
            _ADD,
            {
                "project_id": project,
                "size": manifest.size,
                "sha256": bytes.fromhex(manifest.sha256),
                "pieces": manifest.packed_pieces(),
            },
        ).one()
        return UUID(str(row.id))

    def forget(self, blob: UUID) -> None:
        self._connection.execute(_FORGET, {"blob": blob})
