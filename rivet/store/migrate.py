"""Bring a database to this version's schema."""

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from rivet.store.connect import engine_for
from rivet.store.failures import told_as_unavailable
from rivet.store.schema_state import state_by

_LOCK = 0x7269766574  # any number that nobody else takes in this database
_TIMEOUT_S = 600.0


def migrate_database(database_url: str) -> None:
    """Apply the steps that are missing, all or none; several at once wait for each other.

    A database of a newer version is left as it is. Raises Unavailable.
    """
    engine = engine_for(database_url, pool_size=1, statement_timeout_s=_TIMEOUT_S)
    try:
        with told_as_unavailable(), engine.begin() as connection:
            connection.execute(text("SELECT set_config('lock_timeout', '60s', true)"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            if state_by(connection).is_older:
                bring_to("head", connection)
    finally:
        engine.dispose()


def bring_to(step: str, connection: Connection) -> None:
    """Apply the steps up to this one, in the transaction of the connection."""
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, step)


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", "rivet.store:migrations")
    config.set_main_option("path_separator", "os")
    return config
