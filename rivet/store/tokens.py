"""Tokens, kept as hashes."""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, insert, select

from rivet.domain.ids import TokenId
from rivet.engine.ports import Token
from rivet.store.tables import TOKEN, AnyRow

_COLUMNS = (
    TOKEN.c.id,
    TOKEN.c.kind,
    TOKEN.c.name,
    TOKEN.c.queues,
    TOKEN.c.created_at,
    TOKEN.c.revoked_at,
)
_ADD = insert(TOKEN).returning(*_COLUMNS)
_BY_HASH = select(*_COLUMNS).where(TOKEN.c.hash == bindparam("hash"), TOKEN.c.revoked_at.is_(None))


class PostgresTokens:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, kind: str, name: str, token_hash: bytes, queues: Sequence[str]) -> Token:
        row = self._connection.execute(
            _ADD, {"kind": kind, "name": name, "hash": token_hash, "queues": list(queues)}
        ).one()
        return _token(row)

    def by_hash(self, token_hash: bytes) -> Token | None:
        row = self._connection.execute(_BY_HASH, {"hash": token_hash}).one_or_none()
        return _token(row) if row else None


def _token(row: AnyRow) -> Token:
    return Token(
        id=TokenId(row.id),
        kind=row.kind,
        name=row.name,
        queues=tuple(row.queues),
        created_at=row.created_at,
        revoked_at=row.revoked_at,
    )
