"""The engine: bounded waits everywhere, and the short form of a database's address taken as psycopg2's."""

from sqlalchemy import Engine, create_engine

from rivet.store.plain_json import to_json

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_S = 30
LOCK_TIMEOUT_S = 10
POOL_TIMEOUT_S = 10


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
    return create_engine(
        with_psycopg2(database_url),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=POOL_TIMEOUT_S,
        pool_pre_ping=True,
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


def with_psycopg2(database_url: str) -> str:
    """SQLAlchemy takes `postgresql://` for a driver that Rivet does not use."""
    for short in ("postgresql://", "postgres://"):
        if database_url.startswith(short):
            return "postgresql+psycopg2://" + database_url.removeprefix(short)
    return database_url
