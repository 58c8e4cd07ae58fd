"""The database's schema and first tokens, for the command line and for whoever starts the parts."""

from collections.abc import Sequence

from sqlalchemy import Engine

from rivet.domain.errors import Unavailable
from rivet.keyring import hash_token
from rivet.store.failures import told_as_unavailable
from rivet.store.schema_state import SchemaState, state_by, state_of_schema
from rivet.store.unit import PostgresStore

__all__ = ["SchemaState", "ensure_token", "migrate", "require_schema", "require_schema_by", "schema_state"]


def migrate(database_url: str) -> None:
    """Bring the database to this version's schema. Safe to call often and at once. Raises Unavailable."""
    from rivet.store.migrate import migrate_database  # Alembic is loaded by those who migrate alone

    migrate_database(database_url)


def schema_state(database_url: str) -> SchemaState:
    """How far the database's schema is. Raises Unavailable."""
    return state_of_schema(database_url)


def require_schema(database_url: str) -> None:
    """Refuse a database that is older than this version; a newer one is accepted. Raises Unavailable."""
    _require(state_of_schema(database_url))


def require_schema_by(engine: Engine) -> None:
    """As `require_schema`, by an engine that is there."""
    with told_as_unavailable(), engine.connect() as connection:
        state = state_by(connection)
    _require(state)


def _require(state: SchemaState) -> None:
    if state.is_older:
        found = "has no tables of Rivet" if state.found is None else f"is at step {state.found}"
        raise Unavailable(
            f"the database {found}, and this version needs step {state.step}: run `rivet migrate` first"
        )


def ensure_token(
    database_url: str, *, kind: str, name: str, token: str, queues: Sequence[str] = ()
) -> None:
    """Make `token` known; nothing happens where it already is. `kind` is `admin` or `runner`.

    Raises Unavailable.
    """
    store = PostgresStore(database_url, pool_size=1)
    try:
        with store.begin() as tx:
            token_hash = hash_token(token)
            if tx.tokens.by_hash(token_hash) is None:
                tx.tokens.add(kind, name, token_hash, queues)
    finally:
        store.close()
