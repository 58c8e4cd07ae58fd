"""How far a database's schema is, by the names of the steps. Who only asks does not load Alembic."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

from rivet.store.connect import engine_for
from rivet.store.failures import told_as_unavailable
from rivet.store.steps import known_steps

_HAS_TABLE = text("SELECT to_regclass('alembic_version') IS NOT NULL")
_FOUND = text("SELECT version_num FROM alembic_version")


@dataclass(frozen=True, slots=True)
class SchemaState:
    """`found` is None in a database without our tables; `step` names the newest that this version knows."""

    found: str | None
    step: str
    is_newer: bool

    @property
    def is_older(self) -> bool:
        return not self.is_newer and self.found != self.step


def state_of_schema(database_url: str) -> SchemaState:
    """How far the database is. Raises Unavailable."""
    engine = engine_for(database_url, pool_size=1)
    try:
        with told_as_unavailable(), engine.connect() as connection:
            return state_by(connection)
    finally:
        engine.dispose()


def state_by(connection: Connection) -> SchemaState:
    """As `state_of_schema`, by a connection that is there."""
    found = None
    if connection.execute(_HAS_TABLE).scalar_one():
        found = connection.execute(_FOUND).scalar_one_or_none()
    steps = known_steps()
    return SchemaState(found, steps[-1], is_newer=found is not None and found not in steps)
