"""Restore a backup into an empty database: all of it in one transaction, or nothing.

The schema of then is made, filled, and brought up to the present one; then what was going on is ended.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import Connection, text

from rivet.backup.archive import ArchiveReader, Header, Member
from rivet.backup.contents import TABLES
from rivet.backup.copies import copy_in
from rivet.domain.day import day_of
from rivet.domain.errors import Conflict, InvalidInput
from rivet.domain.ids import ProjectId
from rivet.engine.end_restored import end_restored
from rivet.engine.kept_ports import BlobStore
from rivet.engine.ports import Committed
from rivet.store.connect import engine_for
from rivet.store.failures import told_as_unavailable
from rivet.store.migrate import bring_to
from rivet.store.record_days import DROPPED_AT, PostgresRecordDays
from rivet.store.schema_state import state_of_schema
from rivet.store.steps import is_known
from rivet.store.unit import Transaction

_PATIENT = (
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
)
_STARTED = text(
    f"""
    SELECT DISTINCT ('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint / 86400000 AS day
    FROM run
    WHERE {DROPPED_AT.format(run="run.id")} IS NULL ORDER BY day
    """
)
_FORGET_LOST = text(
    "DELETE FROM piece WHERE NOT EXISTS (SELECT FROM restored WHERE (project_id, sha256) = (project, digest))"
)
_LATEST_DAY = 40_000
"""Days since 1970: in 2079. Ids of a later time are none of ours, and their records lie beside the days."""

Told = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Restored:
    runs: int
    ended: int
    pieces: int


def refuse_unknown(header: Header, name: str) -> None:
    """Raises InvalidInput for a backup of a schema that this version does not know, or of other tables."""
    if not is_known(header.schema):
        raise InvalidInput(
            f"{name} has the schema's step {header.schema}, which this version of Rivet does not know: "
            f"restore it with Rivet {header.rivet} or newer"
        )
    if strange := set(header.tables) - set(TABLES):
        raise InvalidInput(f"{name} has tables that no backup has: {', '.join(sorted(strange))[:200]}")


def refuse_full(database_url: str) -> None:
    """Raises Conflict for a database that has tables of Rivet, Unavailable."""
    if state_of_schema(database_url).found is not None:
        raise Conflict(
            "the database has tables of Rivet already, and a backup is restored into an empty one only: make "
            "another database, and name it in RIVET_DATABASE_URL"
        )


def restore_backup(
    archive: ArchiveReader, header: Header, database_url: str, blobs: BlobStore, *, told: Told
) -> Restored:
    """The archive must have been verified. `told` hears of what is read, as in `make_backup`.

    Raises Conflict for a database that is not empty, Unavailable, OSError; then the database is as it was.
    """
    refuse_full(database_url)
    engine = engine_for(database_url, pool_size=1)
    try:
        with told_as_unavailable(), engine.begin() as connection:
            for statement in _PATIENT:
                connection.execute(text(statement))
            bring_to(header.schema, connection)
            for table in reversed(TABLES):
                if table in header.tables:
                    connection.execute(text(f"DELETE FROM {table}"))
            pieces = _load(archive, header, connection, blobs, told)
            bring_to("head", connection)
            tx = Transaction(connection, Committed())
            ended = end_restored(tx)
            tx.write()
            runs = int(connection.execute(text("SELECT count(*) FROM run")).scalar_one())
        return Restored(runs, ended, pieces)
    finally:
        engine.dispose()


def _load(
    archive: ArchiveReader, header: Header, connection: Connection, blobs: BlobStore, told: Told
) -> int:
    """How many pieces were stored."""
    connection.execute(text("CREATE TEMPORARY TABLE restored (project uuid, digest bytea) ON COMMIT DROP"))
    pieces = 0
    for place, members in itertools.groupby(archive.members(), _place):
        kind, _, name = place.partition("/")
        if kind == "tables":
            if name not in header.tables:
                raise InvalidInput(f"the backup has rows of {name[:100]}, which its header does not name")
            if name == "record":
                _open_days(connection)
            copy_in(name, header.tables[name], _counted(members, told), connection)
        elif kind == "pieces":
            pieces += _store(ProjectId(UUID(name)), _told(members, told), connection, blobs)
    connection.execute(_FORGET_LOST)
    connection.execute(text("DROP TABLE restored"))
    return pieces


def _place(member: Member) -> str:
    """`tables/run/000001` belongs to `tables/run`, `pieces/PROJECT/DIGEST` to `pieces/PROJECT`."""
    return member.name.rpartition("/")[0]


def _told(members: Iterable[Member], told: Told) -> Iterator[Member]:
    for member in members:
        told(member.name, len(member.data))
        yield member


def _counted(members: Iterable[Member], told: Told) -> Iterator[bytes]:
    return (member.data for member in _told(members, told))


def _open_days(connection: Connection) -> None:
    """Partitions for the records to come, one for each day on which runs were started."""
    days = PostgresRecordDays(connection)
    for day in connection.execute(_STARTED).scalars().all():
        if 0 <= day < _LATEST_DAY:
            days.open(day_of(datetime.fromtimestamp(day * 86400, UTC)))


def _store(
    project: ProjectId, members: Iterable[Member], connection: Connection, blobs: BlobStore
) -> int:
    stored = 0
    for member in members:
        digest = member.name.rpartition("/")[2]
        blobs.put(project, digest, member.data)
        connection.execute(
            text("INSERT INTO restored VALUES (:project, :digest)"),
            {"project": project, "digest": bytes.fromhex(digest)},
        )
        stored += 1
    return stored
