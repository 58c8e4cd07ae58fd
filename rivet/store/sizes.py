"""How much the tables take, by their groups in the ledger, and what was noted of it."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, Engine, insert, text

from rivet.domain.growth import Sample
from rivet.domain.retention import TABLES
from rivet.store.failures import told_as_unavailable
from rivet.store.tables import SIZE_SAMPLE

BLOBS = "blobs"

_TABLES = text(
    """
    SELECT name, coalesce(
        (SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree(to_regclass(name)) WHERE isleaf),
        pg_total_relation_size(to_regclass(name)), 0
    )::bigint AS bytes
    FROM unnest(CAST(:names AS text[])) AS name
    """
)
# Kept by triggers of `piece` (migration 0025): a row for each change since they were added up last.
_BLOBS = text("SELECT coalesce(sum(bytes), 0)::bigint FROM stored_bytes")
_ADD_UP = text(
    """
    WITH told AS (DELETE FROM stored_bytes RETURNING bytes)
    INSERT INTO stored_bytes SELECT sum(bytes) FROM told HAVING count(*) > 0
    """
)
_HAS_SINCE = text("SELECT EXISTS (SELECT FROM size_sample WHERE taken_at > :since)")
_FORGET = text("DELETE FROM size_sample WHERE taken_at < :before")
_SAMPLES = text("SELECT name, taken_at, bytes FROM size_sample WHERE taken_at >= :since ORDER BY taken_at")


class PostgresSizes:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def measured(self) -> Mapping[str, int]:
        return _measured(self._connection)

    def add_up(self) -> None:
        self._connection.execute(_ADD_UP)

    def has_since(self, since: datetime) -> bool:
        return bool(self._connection.execute(_HAS_SINCE, {"since": since}).scalar_one())

    def note(self, now: datetime, sizes: Mapping[str, int]) -> None:
        rows = [{"taken_at": now, "name": name, "bytes": size} for name, size in sizes.items()]
        self._connection.execute(insert(SIZE_SAMPLE), rows)

    def forget(self, before: datetime) -> int:
        return self._connection.execute(_FORGET, {"before": before}).rowcount


class SizeReads:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def measured(self) -> Mapping[str, int]:
        """Bytes by group, as they are now. Raises Unavailable."""
        with told_as_unavailable(), self._engine.connect() as connection:
            return _measured(connection)

    def samples(self, since: datetime) -> Mapping[str, Sequence[Sample]]:
        """What was noted, by name, oldest first. Raises Unavailable."""
        found: dict[str, list[Sample]] = {}
        with told_as_unavailable(), self._engine.connect() as connection:
            for row in connection.execute(_SAMPLES, {"since": since}):
                found.setdefault(row.name, []).append((row.taken_at, row.bytes))
        return found


def _measured(connection: Connection) -> dict[str, int]:
    group_of = {kept.name: kept.group for kept in TABLES}
    sizes = dict.fromkeys(group_of.values(), 0)
    for row in connection.execute(_TABLES, {"names": list(group_of)}):
        sizes[group_of[row.name]] += row.bytes
    return {**sizes, BLOBS: int(connection.execute(_BLOBS).scalar_one())}
