"""Logs of ended runs that are in blobs: which are to be moved, where each chunk's body is, and reading it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from rivet.domain.blob import Manifest
from rivet.domain.errors import BadRecord, NotFound
from rivet.domain.ids import ProjectId, RunId
from rivet.engine.kept_ports import BlobStore
from rivet.engine.retention_ports import Place
from rivet.store.failures import told_as_unavailable

_TO_MOVE = text(
    """
    SELECT run.id, run.project_id, run.ended_at FROM run
    WHERE run.ended_at > :since AND run.ended_at < :before
      AND NOT EXISTS (SELECT FROM moved_log WHERE moved_log.run_id = run.id)
    ORDER BY run.ended_at LIMIT :most
    """
)
_BODIES = text(
    """
    SELECT pos, body FROM record WHERE run_id = :run AND type = 'log' AND moved_to IS NULL AND pos > :after
    ORDER BY pos LIMIT :most
    """
)
_EMPTY = text(
    """
    UPDATE record SET body = '', moved_to = place.at, moved_size = place.size
    FROM unnest(CAST(:pos AS bigint[]), CAST(:at AS bigint[]), CAST(:sizes AS integer[]))
        AS place(pos, at, size)
    WHERE record.run_id = :run AND record.pos = place.pos AND record.moved_to IS NULL
    """
)
_NOTE = text(
    """
    INSERT INTO moved_log (run_id, blob_id) SELECT id, CAST(:blob AS uuid) FROM run WHERE id = :run
    ON CONFLICT DO NOTHING
    """
)
_MANIFEST = text(
    """
    SELECT blob.project_id, blob.size, blob.sha256, blob.pieces
    FROM moved_log JOIN blob ON blob.id = moved_log.blob_id WHERE moved_log.run_id = :run
    """
)


class PostgresMovedLogs:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def to_move(
        self, ended_since: datetime, ended_before: datetime, limit: int
    ) -> Sequence[tuple[RunId, ProjectId, datetime]]:
        asked = {"since": ended_since, "before": ended_before, "most": limit}
        rows = self._connection.execute(_TO_MOVE, asked)
        return [(RunId(row.id), ProjectId(row.project_id), row.ended_at) for row in rows]

    def bodies(self, run: RunId, after: int, limit: int) -> Sequence[tuple[int, bytes]]:
        rows = self._connection.execute(_BODIES, {"run": run, "after": after, "most": limit})
        return [(row.pos, bytes(row.body)) for row in rows]

    def note(self, run: RunId, blob: UUID | None, places: Sequence[Place]) -> bool:
        if self._connection.execute(_NOTE, {"run": run, "blob": blob}).rowcount == 0:
            return False
        told = {
            "run": run,
            "pos": [place.pos for place in places],
            "at": [place.at for place in places],
            "sizes": [place.size for place in places],
        }
        return not places or self._connection.execute(_EMPTY, told).rowcount == len(places)


class MovedBodies:
    """Reads bodies of one run's chunks from its blob. The piece that was read last is kept."""

    def __init__(self, run: RunId, engine: Engine, blobs: BlobStore | None) -> None:
        self._run, self._engine, self._blobs = run, engine, blobs
        self._found: tuple[ProjectId, Manifest] | None = None
        self._piece: tuple[str, bytes] = ("", b"")

    def of(self, row: Any) -> bytes:
        """The body of a record: its own, or that which was moved. Raises BadRecord where it is lost, and
        Unavailable."""
        if row.moved_to is None:
            return bytes(row.body)
        if self._found is None:
            self._found = self._manifest()
        project, manifest = self._found
        if not 0 < row.moved_size <= manifest.size - row.moved_to:
            raise BadRecord("where they were moved to is outside of what is stored")
        parts = manifest.parts(row.moved_to, row.moved_to + row.moved_size - 1)
        return b"".join(self._read(project, part.digest)[part.start : part.stop] for part in parts)

    def _read(self, project: ProjectId, digest: str) -> bytes:
        if self._piece[0] != digest:
            if self._blobs is None:
                raise BadRecord("they were moved, and the store of artifacts is not at hand")
            try:
                self._piece = (digest, self._blobs.piece(project, digest))
            except NotFound as lost:
                raise BadRecord(lost.message) from lost
        return self._piece[1]

    def _manifest(self) -> tuple[ProjectId, Manifest]:
        with told_as_unavailable(), self._engine.connect() as connection:
            row = connection.execute(_MANIFEST, {"run": self._run}).one_or_none()
        if row is None:
            raise BadRecord("they were moved, and it is not known where to")
        blob = Manifest.of_stored(row.size, bytes(row.sha256), bytes(row.pieces))
        return ProjectId(row.project_id), blob
