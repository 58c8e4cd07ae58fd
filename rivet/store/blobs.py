"""Which pieces there are, and which of them a blob consists of. The bytes themselves are elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from sqlalchemy import Connection, bindparam, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from rivet.domain.blob import Manifest
from rivet.domain.ids import ProjectId
from rivet.engine.kept_ports import StoredPiece
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
# Nothing but the page is looked at, each of it by an index; `OFFSET 0` keeps it so. The last of a page that
# is full says where the next one begins.
_UNREFERRED = "\n".join(
    f"AND NOT EXISTS (SELECT FROM {kind.name} WHERE {kind.name}.blob_id = page.id OFFSET 0)"
    for kind in (ARTIFACT, CACHE, FOLDER, SNAPSHOT, KEPT_FILES, MOVED_LOG)
)
_FORGET_UNUSED = text(
    f"""
    WITH page AS MATERIALIZED (
        SELECT ctid AS place, id, created_at FROM blob WHERE id > :after ORDER BY id LIMIT :most
    ),
    gone AS (
        DELETE FROM blob WHERE ctid = ANY (ARRAY(
            SELECT page.place FROM page
            WHERE page.created_at < now() - make_interval(secs => :age_s) {_UNREFERRED}
        )) RETURNING id
    )
    SELECT (SELECT count(*) FROM gone) AS gone, (SELECT count(*) FROM page) AS seen,
           (SELECT id FROM page ORDER BY id DESC LIMIT 1) AS last
    """
)
# The age is looked at again where a piece was used since: then the row has waited for that transaction.
_TAKE_UNUSED = text(
    """
    WITH page AS MATERIALIZED (
        SELECT ctid AS place, project_id, sha256, used_at FROM piece
        WHERE (project_id, sha256) > (:project, :digest) ORDER BY project_id, sha256 LIMIT :most
    ),
    gone AS (
        DELETE FROM piece WHERE used_at < now() - make_interval(secs => :age_s) AND ctid = ANY (ARRAY(
            SELECT page.place FROM page
            WHERE page.used_at < now() - make_interval(secs => :age_s) AND NOT EXISTS (
                SELECT FROM blob
                WHERE digests_of(blob.pieces) @> ARRAY[page.sha256] AND blob.project_id = page.project_id
                OFFSET 0
            )
        )) RETURNING project_id, sha256
    )
    SELECT true AS is_gone, project_id, sha256 FROM gone
    UNION ALL
    SELECT false, last.project_id, last.sha256 FROM (
        SELECT project_id, sha256 FROM page ORDER BY project_id DESC, sha256 DESC LIMIT 1
    ) AS last WHERE (SELECT count(*) FROM page) = :most
    """
)
_NO_ID = UUID(int=0)
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

    def forget_unused(self, older_than_s: float, after: UUID | None, look_at: int) -> tuple[int, UUID | None]:
        asked = {"age_s": older_than_s, "after": after or _NO_ID, "most": look_at}
        row = self._connection.execute(_FORGET_UNUSED, asked).one()
        return row.gone, UUID(str(row.last)) if row.seen == look_at else None

    def take_unused_pieces(
        self, unused_for_s: float, after: StoredPiece | None, look_at: int
    ) -> tuple[Sequence[StoredPiece], StoredPiece | None]:
        project, digest = after or (_NO_ID, "")
        asked = {
            "age_s": unused_for_s, "project": project, "digest": bytes.fromhex(digest), "most": look_at
        }
        taken: list[StoredPiece] = []
        last: StoredPiece | None = None
        for row in self._connection.execute(_TAKE_UNUSED, asked):
            piece = (ProjectId(row.project_id), bytes(row.sha256).hex())
            if row.is_gone:
                taken.append(piece)
            else:
                last = piece
        return taken, last
