"""Requests that came with an Idempotency-Key, and how they were answered."""

from uuid import UUID

from sqlalchemy import Connection, text

from rivet.domain.ids import TokenId
from rivet.engine.kept_ports import Begun

_BEGIN = text(
    """
    INSERT INTO answered AS known (token_id, key, request, made_id)
    VALUES (:token, :key, :request, :made)
    ON CONFLICT (token_id, key) DO UPDATE SET begun_at = now()
    WHERE known.answer IS NULL AND known.request = excluded.request
      AND known.begun_at < now() - make_interval(secs => :patience)
    RETURNING made_id
    """
)
_FORGET = text(
    """
    DELETE FROM answered
    WHERE token_id = :token AND key = :key AND created_at < now() - make_interval(secs => :keep)
    """
)
_LOOK = text("SELECT request, answer, made_id FROM answered WHERE token_id = :token AND key = :key")
_ANSWER = text("UPDATE answered SET answer = :answer WHERE token_id = :token AND key = :key")
_RELEASE = text("DELETE FROM answered WHERE token_id = :token AND key = :key AND answer IS NULL")
_DROP = text("DELETE FROM answered WHERE created_at < now() - make_interval(secs => :keep)")


class PostgresAnswered:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begin(
        self, token: TokenId, key: str, request: bytes, made: UUID, *, keep_s: float, patience_s: float
    ) -> Begun | None:
        named = {"token": token, "key": key}
        self._connection.execute(_FORGET, {**named, "keep": keep_s})
        asked = {**named, "request": request, "made": made, "patience": patience_s}
        row = self._connection.execute(_BEGIN, asked).one_or_none()
        if row is not None:
            return Begun(request, row.made_id, None, is_mine=True)
        found = self._connection.execute(_LOOK, named).one_or_none()
        if found is None:
            return None
        answer = None if found.answer is None else bytes(found.answer)
        return Begun(bytes(found.request), found.made_id, answer, is_mine=False)

    def note(self, token: TokenId, key: str, answer: bytes) -> None:
        self._connection.execute(_ANSWER, {"token": token, "key": key, "answer": answer})

    def release(self, token: TokenId, key: str) -> None:
        self._connection.execute(_RELEASE, {"token": token, "key": key})

    def drop(self, keep_s: float) -> None:
        self._connection.execute(_DROP, {"keep": keep_s})
