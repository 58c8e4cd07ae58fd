"""While a backup is made nothing is dropped: neither bytes that its snapshot refers to, nor days of records.

An advisory lock of PostgreSQL: who backs up holds it for the whole time, who drops asks for it in every
transaction and does without dropping where it is not to be had.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text

_LOCK = 0x6B656570  # any number that nobody else takes in this database
_PATIENCE = text("SELECT set_config('lock_timeout', '120s', false)")
_WAIT = text(f"SELECT pg_advisory_lock({_LOCK})")
_LET_GO = text(f"SELECT pg_advisory_unlock({_LOCK})")
_MAY_DROP = text(f"SELECT pg_try_advisory_xact_lock_shared({_LOCK})")


@contextmanager
def stand_still(engine: Engine) -> Iterator[None]:
    """Waits for what is just being dropped, and for another backup; two minutes at most."""
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(_PATIENCE)
        connection.execute(_WAIT)
        try:
            yield
        finally:
            connection.execute(_LET_GO)


def may_drop(connection: Connection) -> bool:
    """Until the transaction ends; False while a backup is made."""
    return bool(connection.execute(_MAY_DROP).scalar_one())
