"""Whether the database is as this version needs it: asked at every start, and with little to load for it."""

from collections.abc import Sequence

import psycopg2

from rivet.keyring import hash_token
from rivet.store.steps import known_steps

TIMEOUT_S = 5


def is_prepared(database_url: str, tokens: Sequence[str]) -> bool:
    """Has it the newest step, and are these tokens known? False also where that cannot be told."""
    address = database_url.replace("postgresql+psycopg2://", "postgresql://", 1)
    try:
        connection = psycopg2.connect(address, connect_timeout=TIMEOUT_S)
    except psycopg2.Error:
        return False
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT version_num FROM alembic_version")
            if cursor.fetchall() != [(known_steps()[-1],)]:
                return False
            hashes = [hash_token(token) for token in tokens]
            cursor.execute("SELECT count(*) FROM token WHERE hash = ANY (%s)", (hashes,))
            return cursor.fetchone() == (len(tokens),)
    except psycopg2.Error:
        return False
    finally:
        connection.close()
