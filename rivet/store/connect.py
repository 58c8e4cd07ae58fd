"""The engine: bounded waits everywhere, and the short form of a database's address taken as psycopg2's."""

import time
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DisconnectionError

from rivet.store.plain_json import to_json
from rivet.store.prepare import prepare_what_repeats

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_S = 30
LOCK_TIMEOUT_S = 10
POOL_TIMEOUT_S = 10
ASK_AFTER_S = 2.0
"""A connection that lay idle for so long is asked whether it still is one. Asked each time, it would cost a
round trip a transaction; one that broke since the last use fails its transaction, which is told as such."""


def engine_for(
    database_url: str, *, pool_size: int = 8, statement_timeout_s: float = STATEMENT_TIMEOUT_S
) -> Engine:
    """An engine that connects when it is first used; up to twice `pool_size` connections under load."""
    timeouts = {
        "statement_timeout": int(statement_timeout_s * 1000),
        "lock_timeout": LOCK_TIMEOUT_S * 1000,
        "idle_in_transaction_session_timeout": 2 * STATEMENT_TIMEOUT_S * 1000,
        "timezone": "UTC",
    }
    engine = create_engine(
        with_psycopg2(database_url),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=POOL_TIMEOUT_S,
        json_serializer=to_json,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": "rivet",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
            "options": " ".join(f"-c {name}={value}" for name, value in timeouts.items()),
        },
    )
    prepare_what_repeats(engine)
    event.listen(engine, "checkin", _note_use)
    event.listen(engine, "checkout", _ask_if_idle)
    return engine


def _note_use(_connection: Any, record: Any) -> None:
    record.info["used_at"] = time.monotonic()


def _ask_if_idle(connection: Any, record: Any, _proxy: Any) -> None:
    if time.monotonic() - record.info.get("used_at", time.monotonic()) < ASK_AFTER_S:
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        connection.rollback()
    except connection.Error:
        # The pool then takes another one, and asks it in its turn.
        raise DisconnectionError from None


def with_psycopg2(database_url: str) -> str:
    """SQLAlchemy takes `postgresql://` for a driver that Rivet does not use."""
    for short in ("postgresql://", "postgres://"):
        if database_url.startswith(short):
            return "postgresql+psycopg2://" + database_url.removeprefix(short)
    return database_url
