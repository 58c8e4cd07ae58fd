"""What stages say of a run besides its log: annotations, and the last summary of each stage."""

from typing import Any

from sqlalchemy import Connection, text

from rivet.domain.annotation import MOST_SHOWN
from rivet.domain.ids import RunId

MOST_SUMMARIES = 32
MOST_SUMMARY_CHARACTERS = 512 * 1024
"""Of all that are shown together: what is over is left out, the last stages first."""

_ANNOTATIONS = text(
    """
    SELECT stage, attempt, at, data FROM record
    WHERE run_id = :run AND type = 'annotation' ORDER BY pos LIMIT :most
    """
)
_SUMMARIES = text(
    """
    SELECT last.stage, last.attempt, last.data FROM (
        SELECT DISTINCT ON (stage) stage, attempt, data FROM record
        WHERE run_id = :run AND type = 'summary' ORDER BY stage, pos DESC
    ) AS last
    JOIN stage ON stage.run_id = :run AND stage.key = last.stage
    ORDER BY stage.ordinal LIMIT :most
    """
)

Shown = dict[str, Any]


def annotations_of(run: RunId, connection: Connection) -> list[Shown]:
    """The first 100, in the order in which they were said."""
    return [
        {"stage": row.stage, "attempt": row.attempt, **row.data}
        for row in connection.execute(_ANNOTATIONS, {"run": run, "most": MOST_SHOWN})
    ]


def summary_of(run: RunId, connection: Connection) -> list[Shown]:
    """In the order of stages, as many as fit."""
    shown: list[Shown] = []
    left = MOST_SUMMARY_CHARACTERS
    for row in connection.execute(_SUMMARIES, {"run": run, "most": MOST_SUMMARIES}):
        markdown = str(row.data.get("markdown", ""))
        left -= len(markdown)
        if left < 0:
            break
        shown.append({"stage": row.stage, "attempt": row.attempt, "markdown": markdown})
    return shown
