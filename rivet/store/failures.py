"""Which of PostgreSQL's errors mean "not now" and are told as Unavailable; all others are defects of ours."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from rivet.domain.errors import Unavailable

_NOT_NOW = (
    "08",  # connection
    "0A000",  # a migration changed what a prepared statement answers; its connection was given up
    "25006",  # read-only: a standby that has not taken over yet
    "3D000",  # the database is not there (yet)
    "40",  # deadlock, serialization
    "53",  # out of disk, memory, connections
    "55P03",  # a lock was not to be had in time
    "57",  # shut down, or cancelled by a time limit
    "58",  # the system under it
)


@contextmanager
def told_as_unavailable() -> Iterator[None]:
    """Raise Unavailable for a server that is away, overloaded, or does not answer in time."""
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable("PostgreSQL: all connections are in use; try again in a moment") from error
    except DBAPIError as error:
        if not _is_not_now(error):
            raise
        raise Unavailable(
            f"PostgreSQL does not answer ({_first_line(error)}); it is tried again with the next request"
        ) from error


def _is_not_now(error: DBAPIError) -> bool:
    state = getattr(error.orig, "pgcode", None)
    if state is None:
        # psycopg2 has no state where no server answered; its other stateless errors are the caller's.
        return error.connection_invalidated or type(error.orig).__name__ in (
            "OperationalError",
            "InterfaceError",
        )
    return state.startswith(_NOT_NOW)


def _first_line(error: DBAPIError) -> str:
    """What the server said, without addresses' second halves, hints or the statement."""
    return (str(error.orig).strip().splitlines() or ["no reason given"])[0][:200]
