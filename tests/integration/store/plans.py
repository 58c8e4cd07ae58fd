"""How PostgreSQL goes about the statements that some code executes: heard of as they are sent, asked for later."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, event

from rivet.store.prepare import forms

_ASKED = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")
_WRITES = re.compile(r"\b(INSERT|DELETE|UPDATE)\s+(INTO|FROM|\w+\s+(AS\s+\w+\s+)?SET)\b", re.IGNORECASE)
_UNTIL_SETTLED = 7
"""PostgreSQL plans a prepared statement five times with its values; then it decides whether to do without."""


@dataclass(frozen=True, slots=True)
class Sent:
    statement: str
    values: Any


class Ear:
    """Hears what an engine executes, each statement once, as it is before it is prepared."""

    def __init__(self, engine: Engine) -> None:
        self._sent: dict[str, Sent] = {}
        event.listen(engine, "before_cursor_execute", self._note)

    def heard(self) -> Sequence[Sent]:
        """Since it was asked last."""
        sent, self._sent = self._sent, {}
        return list(sent.values())

    def _note(
        self, _connection: Any, _cursor: Any, sent: str, values: Any, context: Any, _is_many: bool
    ) -> None:
        statement = context.statement if sent.startswith("EXECUTE") else sent
        if statement.lstrip().upper().startswith(_ASKED):
            self._sent.setdefault(statement, Sent(statement, values[0] if isinstance(values, list) else values))


@dataclass(frozen=True, slots=True)
class Plan:
    """`scanned` are the tables that are read from end to end, `passed_over` rows that were read in vain."""

    scanned: frozenset[str]
    passed_over: int


def plans_of(sent: Sent, engine: Engine) -> list[Plan]:
    """As it is sent, and as it is when it is prepared. What only reads is executed, to see what it passes over."""
    is_read = _WRITES.search(sent.statement) is None
    explain = f"EXPLAIN (FORMAT JSON{', ANALYZE' if is_read else ''}) "
    connection = engine.raw_connection()
    try:
        with connection.cursor() as cursor:
            cursor.execute(explain + sent.statement, sent.values)
            found = [_plan(cursor.fetchone()[0])]
            if isinstance(sent.values, dict) and (execute := _prepared(cursor, sent.statement)):
                for _ in range(_UNTIL_SETTLED):
                    cursor.execute(explain + execute, sent.values)
                found.append(_plan(cursor.fetchone()[0]))
                cursor.execute("DEALLOCATE asked")
    finally:
        connection.rollback()
        connection.close()
    return found


def _prepared(cursor: Any, statement: str) -> str | None:
    """The statement that executes it; None where PostgreSQL cannot tell the type of a value."""
    body, execute = forms(statement)
    cursor.execute("SAVEPOINT preparing")
    try:
        cursor.execute(f"PREPARE asked AS {body}")
    except cursor.connection.ProgrammingError:
        cursor.execute("ROLLBACK TO SAVEPOINT preparing")
        return None
    return execute.replace("rivet_?", "asked", 1)


def _plan(told: Any) -> Plan:
    scanned, passed_over, waiting = set[str](), 0, [told[0]["Plan"]]
    while waiting:
        node = waiting.pop()
        if node["Node Type"] == "Seq Scan":
            scanned.add(node["Relation Name"])
        passed_over += int(node.get("Rows Removed by Filter", 0) * node.get("Actual Loops", 1))
        waiting.extend(node.get("Plans", ()))
    return Plan(frozenset(scanned), passed_over)
