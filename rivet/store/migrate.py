"""Bring a database to this version's schema, and say how far it is."""

from dataclasses import dataclass

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from rivet.store.connect import engine_for
from rivet.store.failures import told_as_unavailable

_LOCK = 0x7269766574  # any number that nobody else takes in this database
_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class SchemaState:
    """`found` is None in a database without our tables; `step` names the newest that this version knows."""

    found: str | None
    step: str
    is_newer: bool

    @property
    def is_older(self) -> bool:
        return not self.is_newer and self.found != self.step


def migrate_database(database_url: str) -> None:
    """Apply the steps that are missing, all or none; several at once wait for each other.

    A database of a newer version is left as it is. Raises Unavailable.
    """
    engine = engine_for(database_url, pool_size=1, statement_timeout_s=_TIMEOUT_S)
    try:
        with told_as_unavailable(), engine.begin() as connection:
            connection.execute(text("SELECT set_config('lock_timeout', '60s', true)"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            if _state(connection).is_older:
                bring_to("head", connection)
    finally:
        engine.dispose()


def bring_to(step: str, connection: Connection) -> None:
    """Apply the steps up to this one, in the transaction of the connection."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, step)


def is_known(step: str) -> bool:
    """Is it one of the steps that this version has?"""
    return step in _known()


def state_of_schema(database_url: str) -> SchemaState:
    """How far the database is. Raises Unavailable."""
    engine = engine_for(database_url, pool_size=1)
    try:
        with told_as_unavailable(), engine.connect() as connection:
            return _state(connection)
    finally:
        engine.dispose()


def _state(connection: Connection) -> SchemaState:
    step = ScriptDirectory.from_config(_config()).get_current_head()
    found = MigrationContext.configure(connection).get_current_revision()
    return SchemaState(found, step or "", is_newer=found is not None and found not in _known())


def _known() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "rivet.store:migrations")
    config.set_main_option("path_separator", "os")
    return config
