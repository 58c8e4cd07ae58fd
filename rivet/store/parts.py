"""Beats of the parts of the system, and duties that one of them has at a time."""

from uuid import UUID

from sqlalchemy import Connection, text

from rivet.store.standstill import may_drop

_BEAT = text(
    """
    INSERT INTO part (name, beat_at, unbroken_since) VALUES (:name, now(), now())
    ON CONFLICT (name) DO UPDATE SET
        unbroken_since = CASE WHEN part.beat_at < now() - make_interval(secs => :gap)
            THEN now() ELSE part.unbroken_since END,
        beat_at = now()
    RETURNING xmax = 0 AS is_new
    """
)
_FORGET = text("DELETE FROM part WHERE beat_at < now() - interval '1 day'")
_UNBROKEN = text(
    """
    SELECT EXISTS (
        SELECT FROM part
        WHERE starts_with(name, :prefix)
          AND unbroken_since <= now() - make_interval(secs => :lasting)
          AND beat_at >= now() - make_interval(secs => :gap)
    )
    """
)
_TAKE = text(
    """
    INSERT INTO duty (name, holder, held_until)
    VALUES (:name, :holder, now() + make_interval(secs => :lasting))
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
    WHERE duty.holder = excluded.holder OR duty.held_until < now()
    """
)


class PostgresParts:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def beat(self, name: str, gap_s: float) -> None:
        if self._connection.execute(_BEAT, {"name": name, "gap": gap_s}).scalar_one():
            self._connection.execute(_FORGET)

    def unbroken(self, prefix: str, for_s: float, gap_s: float) -> bool:
        return bool(
            self._connection.execute(
                _UNBROKEN, {"prefix": prefix, "lasting": for_s, "gap": gap_s}
            ).scalar_one()
        )

    def may_drop(self) -> bool:
        return may_drop(self._connection)

    def take_lease(self, name: str, holder: UUID, for_s: float) -> bool:
        taken = self._connection.execute(
            _TAKE, {"name": name, "holder": holder, "lasting": for_s}
        )
        return taken.rowcount == 1
