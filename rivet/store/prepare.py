"""Statements that a connection repeats are prepared on it: PostgreSQL then parses and plans them once.

psycopg2 sends text with its values in it, and knows nothing of this: what is executed is rewritten just
before it is sent, from `UPDATE … %(run)s` to `EXECUTE rivet_7 (%(run)s)`. Its gain: `docs/performance.md`.
"""

import functools
import re
from typing import Any

from sqlalchemy import Engine, event

AFTER = 3
"""Executions on a connection before a statement is prepared on it."""
MOST = 150
"""Of one connection. They are forgotten with it."""
MOST_CHARS = 8192

_VALUE = re.compile(r"%\((\w+)\)s|%%")
_PREPARABLE = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", re.IGNORECASE)
_KEY = "rivet_prepared"
_OTHER_TYPE = "0A000"


def prepare_what_repeats(engine: Engine) -> None:
    """For every connection of the engine. One that is closed takes what it prepared with it."""
    event.listen(engine, "before_cursor_execute", _rewritten, retval=True)
    event.listen(engine, "handle_error", _give_up_outdated)


class _Known:
    """What one connection has seen: the count of each statement, the name of those that are prepared."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.prepared: dict[str, str] = {}


def _rewritten(
    connection: Any, cursor: Any, statement: str, parameters: Any, _context: Any, is_many: bool
) -> tuple[str, Any]:
    known: _Known | None = connection.info.get(_KEY)
    if known is None:
        known = connection.info[_KEY] = _Known()
    execute = known.prepared.get(statement)
    if execute is None:
        if is_many or not isinstance(parameters, dict) or not _is_due(statement, known):
            return statement, parameters
        execute = _prepare(cursor, statement, known)
    return execute or statement, parameters


def _give_up_outdated(context: Any) -> None:
    """A migration changed the type of what a statement answers: its connection is given up."""
    if getattr(context.original_exception, "pgcode", None) == _OTHER_TYPE:
        context.is_disconnect = True


def _is_due(statement: str, known: _Known) -> bool:
    count = known.counts.get(statement, 0) + 1
    if count == 1 and not _may_be_counted(statement, known):
        return False
    known.counts[statement] = count
    return count == AFTER


def _may_be_counted(statement: str, known: _Known) -> bool:
    is_small = len(statement) <= MOST_CHARS and len(known.counts) < MOST
    return is_small and _PREPARABLE.match(statement) is not None


def _prepare(cursor: Any, statement: str, known: _Known) -> str | None:
    """The statement that executes it; None where PostgreSQL cannot tell the type of a value."""
    name = f"rivet_{len(known.prepared)}"
    body, execute = forms(statement)
    cursor.execute("SAVEPOINT preparing")
    try:
        cursor.execute(f"PREPARE {name} AS {body}")
    except cursor.connection.ProgrammingError:
        cursor.execute("ROLLBACK TO SAVEPOINT preparing")
        return None
    cursor.execute("RELEASE SAVEPOINT preparing")
    known.prepared[statement] = execute.replace("rivet_?", name, 1)
    return known.prepared[statement]


@functools.lru_cache(maxsize=1024)
def forms(statement: str) -> tuple[str, str]:
    """How it is prepared, and how it is executed, its name left open."""
    names: dict[str, int] = {}

    def placed(found: re.Match[str]) -> str:
        name = found[1]
        return "%" if name is None else f"${names.setdefault(name, len(names) + 1)}"

    body = _VALUE.sub(placed, statement)
    values = ", ".join(f"%({name})s" for name in names)
    return body, f"EXECUTE rivet_?{f' ({values})' if values else ''}"
