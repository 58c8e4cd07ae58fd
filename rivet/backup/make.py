"""Make a backup while everything goes on: one snapshot of the database, and the bytes of its blobs.

It is a snapshot of REPEATABLE READ, so that all tables are of one moment. Nothing is dropped meanwhile
(`store.standstill`), so that what the snapshot refers to is there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

from sqlalchemy import Connection, text

from rivet import __version__
from rivet.backup.archive import ArchiveWriter, Header
from rivet.backup.contents import TABLES
from rivet.backup.copies import USED, copy_out
from rivet.domain.errors import NotFound, Unavailable
from rivet.domain.ids import ProjectId
from rivet.engine.kept_ports import BlobStore
from rivet.store.connect import engine_for
from rivet.store.failures import told_as_unavailable
from rivet.store.kept_tables import PIECE
from rivet.store.schema_state import state_of_schema
from rivet.store.standstill import stand_still

KEY, LOST = "secret_key", "lost.json"

_SNAPSHOT = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
)
_PIECES = text(f"SELECT project_id, encode(sha256, 'hex') AS digest FROM ({USED}) AS used")
_KEYS = text("SELECT DISTINCT key_id FROM secret ORDER BY key_id")
_AT_ONCE = 1000

Told = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Made:
    """`lost` are pieces that were not in the store of artifacts any more, and so are not in the backup."""

    runs: int
    pieces: int
    bytes: int
    lost: tuple[str, ...]


def make_backup(
    file: BinaryIO, database_url: str, blobs: BlobStore, *, secret_key: str | None, told: Told
) -> Made:
    """Write it to `file`. `told` hears what is being written, and how many bytes of it were.

    With `secret_key` that goes along. Raises Unavailable, OSError.
    """
    _refuse_other_schema(database_url)
    engine = engine_for(database_url, pool_size=2)
    try:
        with told_as_unavailable(), stand_still(engine), engine.connect() as connection:
            for statement in _SNAPSHOT:
                connection.execute(text(statement))
            return _write(file, connection, blobs, secret_key, told)
    finally:
        engine.dispose()


def _write(
    file: BinaryIO, connection: Connection, blobs: BlobStore, secret_key: str | None, told: Told
) -> Made:
    # Asked of one that is read last: all tables are known then.
    known = PIECE.metadata.tables
    columns = {table: [column.name for column in known[table].c] for table in TABLES}
    header = Header(
        rivet=__version__,
        schema=str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        tables=columns,
        key_ids=list(connection.execute(_KEYS).scalars()),
        has_key=secret_key is not None,
    )
    archive = ArchiveWriter(file, header)
    written = 0

    def add(name: str, data: bytes) -> None:
        nonlocal written
        archive.add(name, data)
        written += len(data)
        told(name, len(data))

    if secret_key is not None:
        add(KEY, secret_key.encode())
    for table in TABLES:
        copy_out(table, columns[table], connection, add)
    pieces, lost = _copy_pieces(connection, blobs, add)
    archive.close()
    runs = int(connection.execute(text("SELECT count(*) FROM run")).scalar_one())
    return Made(runs, pieces, written, tuple(lost))


def _copy_pieces(
    connection: Connection, blobs: BlobStore, add: Callable[[str, bytes], None]
) -> tuple[int, list[str]]:
    copied, lost = 0, []
    asked = connection.execution_options(stream_results=True, max_row_buffer=_AT_ONCE).execute(_PIECES)
    for row in asked:
        try:
            packed = blobs.packed(ProjectId(row.project_id), row.digest)
        except NotFound:
            lost.append(row.digest)
            continue
        add(f"pieces/{row.project_id}/{row.digest}", packed)
        copied += 1
    return copied, lost


def _refuse_other_schema(database_url: str) -> None:
    state = state_of_schema(database_url)
    if state.found != state.step:
        raise Unavailable(
            f"the database is at step {state.found or 'none'} of the schema, and this version makes backups "
            f"of step {state.step}: "
            + ("use the newer version of Rivet" if state.is_newer else "run `rivet migrate` first")
        )
