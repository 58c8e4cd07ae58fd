"""Which pieces there are, and which of them a blob consists of. The bytes themselves are elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from sqlalchemy import Connection, bindparam, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from rivet.domain.blob import Manifest
from rivet.domain.ids import ProjectId
from rivet.store.kept_tables import ARTIFACT, BLOB, CACHE, FOLDER, KEPT_FILES, MOVED_LOG, PIECE, SNAPSHOT

_NEW_PIECE = upsert(PIECE)
_ADD_PIECE = _NEW_PIECE.on_conflict_do_update(
    index_elements=["project_id", "sha256"], set_={"used_at": func.now()}
)
_TOUCH = (
    update(PIECE)
    .where(
        PIECE.c.project_id == bindparam("project"),
        PIECE.c.sha256 == bindparam("digest"),
        PIECE.c.used_at > func.now() - func.make_interval(0, 0, 0, 0, 0, 0, bindparam("within_s")),
    )
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
    ~select(MOVED_LOG.c.run_id).where(MOVED_LOG.c.blob_id == bindparam("blob")).exists(),
)
_FORGET_UNUSED = delete(BLOB).where(
    BLOB.c.id.in_(
        select(BLOB.c.id)
        .where(
            BLOB.c.created_at < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, bindparam("age_s")),
            *(
                ~select(kind.c.blob_id).where(kind.c.blob_id == BLOB.c.id).exists()
                for kind in (ARTIFACT, CACHE, FOLDER, SNAPSHOT, KEPT_FILES, MOVED_LOG)
            ),
        )
        .limit(bindparam("most"))
    )
)
# The age is looked at again where a piece was used since: then the row has waited for that transaction.
_TAKE_UNUSED = text(
    """
    WITH used AS MATERIALIZED (
        SELECT DISTINCT blob.project_id, substring(blob.pieces FROM 32 * place + 1 FOR 32) AS sha256
        FROM blob, generate_series(0, length(blob.pieces) / 32 - 1) AS place
    ),
    unused AS (
        SELECT piece.project_id, piece.sha256
        FROM piece LEFT JOIN used ON used.project_id = piece.project_id AND used.sha256 = piece.sha256
        WHERE used.sha256 IS NULL AND piece.used_at < now() - make_interval(secs => :age_s)
        LIMIT :most
    )
    DELETE FROM piece USING unused
    WHERE piece.project_id = unused.project_id AND piece.sha256 = unused.sha256
        AND piece.used_at < now() - make_interval(secs => :age_s)
    RETURNING piece.project_id, piece.sha256
    """
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

    def touch_piece(self, project: ProjectId, digest: str, within_s: float) -> bool:
        told = {"project": project, "digest": bytes.fromhex(digest), "within_s": within_s}
        touched = self._connection.execute(_TOUCH, told)
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

    def forget_unused(self, older_than_s: float, limit: int) -> int:
        asked = {"age_s": older_than_s, "most": limit}
        return self._connection.execute(_FORGET_UNUSED, asked).rowcount

    def take_unused_pieces(self, unused_for_s: float, limit: int) -> Sequence[tuple[ProjectId, str]]:
        rows = self._connection.execute(_TAKE_UNUSED, {"age_s": unused_for_s, "most": limit})
        return [(ProjectId(row.project_id), bytes(row.sha256).hex()) for row in rows]
