"""The tables of what is kept: blobs and what refers to them, and reports. `migrations/` makes them."""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Double,
    FetchedValue,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)

from rivet.store.tables import METADATA

_TIME = DateTime(timezone=True)


def _made(name: str, kind: Any, *, primary_key: bool = False) -> Column[Any]:
    """A column whose value PostgreSQL gives where none is given."""
    return Column(name, kind, nullable=False, server_default=FetchedValue(), primary_key=primary_key)


PIECE = Table(
    "piece",
    METADATA,
    Column("project_id", Uuid, primary_key=True),
    Column("sha256", LargeBinary, primary_key=True),
    Column("size", Integer, nullable=False),
    Column("stored", Integer, nullable=False),  # packed
    _made("used_at", _TIME),
)

STORED_BYTES = Table(  # what all pieces take: their sum, and the changes since it was made
    "stored_bytes",
    METADATA,
    Column("bytes", BigInteger, nullable=False),
)

BLOB = Table(
    "blob",
    METADATA,
    _made("id", Uuid, primary_key=True),
    Column("project_id", Uuid, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("pieces", LargeBinary, nullable=False),  # their digests, one after another
    _made("created_at", _TIME),
)

ARTIFACT = Table(
    "artifact",
    METADATA,
    Column("run_id", Uuid, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("stage", Text, nullable=False),
    Column("attempt", BigInteger, nullable=False),
    Column("form", Text, nullable=False),
    Column("filename", Text, nullable=False),
    Column("root", Text, nullable=False),
    Column("files", Integer, nullable=False),
    Column("blob_id", Uuid),  # null: expired, as the next two say
    _made("created_at", _TIME),
    Column("expired_at", _TIME),
    Column("expired_size", BigInteger),
)

CACHE = Table(
    "cache",
    METADATA,
    _made("id", Uuid, primary_key=True),
    Column("project_id", Uuid, nullable=False),
    Column("pipeline_id", Uuid, nullable=False),
    Column("branch", Text, nullable=False),  # empty: the default branch
    Column("key", Text, nullable=False),
    Column("form", Text, nullable=False),
    Column("filename", Text, nullable=False),
    Column("root", Text, nullable=False),
    Column("files", Integer, nullable=False),
    Column("blob_id", Uuid, nullable=False),
    _made("created_at", _TIME),
    _made("used_at", _TIME),
    UniqueConstraint("pipeline_id", "branch", "key"),
)

SNAPSHOT = Table(
    "snapshot",
    METADATA,
    Column("job_id", Uuid, primary_key=True),
    Column("epoch", Integer, nullable=False),  # in which the job left it
    Column("form", Text, nullable=False),
    Column("filename", Text, nullable=False),
    Column("root", Text, nullable=False),
    Column("files", Integer, nullable=False),
    Column("blob_id", Uuid, nullable=False),
    _made("created_at", _TIME),
)

FOLDER = Table(  # what runs were started from; the blob is a tar packed with zstd
    "folder",
    METADATA,
    Column("project_id", Uuid, primary_key=True),
    Column("sha256", LargeBinary, primary_key=True),
    Column("blob_id", Uuid, nullable=False),
    _made("created_at", _TIME),
    _made("used_at", _TIME),
)

KEPT_FILES = Table(
    "kept_files",
    METADATA,
    Column("run_id", Uuid, primary_key=True),
    Column("stage", Text, primary_key=True),
    Column("form", Text, nullable=False),
    Column("filename", Text, nullable=False),
    Column("root", Text, nullable=False),
    Column("files", Integer, nullable=False),
    Column("paths", JSON, nullable=False),  # the digest of each file's content by its path
    Column("blob_id", Uuid, nullable=False),
    _made("created_at", _TIME),
)

TEST_CASE = Table(
    "test_case",
    METADATA,
    Column("run_id", Uuid, primary_key=True),
    Column("stage", Text, primary_key=True),
    Column("attempt", BigInteger, primary_key=True),
    Column("place", Integer, primary_key=True),  # in all reports of the attempt, from 1
    Column("suite", Text, nullable=False),
    Column("classname", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("message", Text, nullable=False),
    Column("details", Text, nullable=False),
)

COVERAGE = Table(
    "coverage",
    METADATA,
    Column("run_id", Uuid, primary_key=True),
    Column("stage", Text, primary_key=True),
    Column("attempt", BigInteger, primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("source", Text, nullable=False),
    Column("form", Text, nullable=False),
    Column("lines", BigInteger, nullable=False),
    Column("covered", BigInteger, nullable=False),
)

MOVED_LOG = Table(  # runs whose logs were looked at; null: there was none to move
    "moved_log",
    METADATA,
    Column("run_id", Uuid, primary_key=True),
    Column("blob_id", Uuid),
)
