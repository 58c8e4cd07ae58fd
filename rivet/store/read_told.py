"""What stages say of a run besides its log: annotations, and the last summary of each stage.

A stage that stands in a rerun has said it in the run in which it ran, and there it is read. What is over its
time there is not shown; the stage says where it ran.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from rivet.domain.annotation import MOST_SHOWN
from rivet.domain.ids import RunId

MOST_SUMMARIES = 32
MOST_SUMMARY_CHARACTERS = 512 * 1024
"""Of all that are shown together: what is over is left out, the last stages first."""

# One run at a time: then PostgreSQL looks at one partition of the records.
_ANNOTATIONS = text(
    """
    SELECT stage, attempt, data FROM record
    WHERE run_id = :run AND type = 'annotation' AND stage = ANY (:stages) ORDER BY pos LIMIT :most
    """
)
_SUMMARIES = text(
    """
    SELECT DISTINCT ON (stage) stage, attempt, data FROM record
    WHERE run_id = :run AND type = 'summary' AND stage = ANY (:stages) ORDER BY stage, pos DESC
    """
)

Shown = dict[str, Any]
Told = Sequence[tuple[RunId, Sequence[str]]]
"""Runs with the keys of those stages that ran there, the first run first."""


def told_in(run: RunId, stages: Sequence[Any]) -> Told:
    """Where the stages of a run, given as they are shown in their order, have said what they said."""
    ran: dict[RunId, list[str]] = {}
    for stage in stages:
        where = run if stage["from_run"] is None else RunId(UUID(stage["from_run"]["id"]))
        ran.setdefault(where, []).append(stage["key"])
    # An id begins with the time at which the run was made.
    return sorted(ran.items())


def annotations_of(run: RunId, told: Told, connection: Connection) -> list[Shown]:
    """The first 100, in the order in which they were said."""
    shown: list[Shown] = []
    for where, stages in told:
        asked = {"run": where, "stages": list(stages), "most": MOST_SHOWN - len(shown)}
        shown += [
            {"stage": row.stage, "attempt": row.attempt, "from_run": _unless_own(where, run), **row.data}
            for row in connection.execute(_ANNOTATIONS, asked)
        ]
    return shown


def summary_of(run: RunId, told: Told, order: Sequence[str], connection: Connection) -> list[Shown]:
    """In the order of stages, as many as fit."""
    found: dict[str, Shown] = {}
    for where, stages in told:
        for row in connection.execute(_SUMMARIES, {"run": where, "stages": list(stages)}):
            markdown = str(row.data.get("markdown", ""))
            mark = _unless_own(where, run)
            found[row.stage] = {
                "stage": row.stage, "attempt": row.attempt, "from_run": mark, "markdown": markdown
            }
    shown: list[Shown] = []
    left = MOST_SUMMARY_CHARACTERS
    for stage in [key for key in order if key in found][:MOST_SUMMARIES]:
        left -= len(found[stage]["markdown"])
        if left < 0:
            break
        shown.append(found[stage])
    return shown


def _unless_own(where: RunId, run: RunId) -> str | None:
    return None if where == run else str(where)
