"""Which runs a list shows: a statement that says what is wanted alone, so that an index gives them in order.

What is not asked for is left out of it. `x IS NULL OR …` in its place would hide from PostgreSQL that hardly
any run may be left, and it would look through all of them.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from rivet.domain.day import id_near
from rivet.domain.states import FINISHED_RUN
from rivet.store.plain_json import storable

APART = timedelta(days=1)
"""The time in a run's id and that of its row differ by less: clocks do, and a request may be repeated."""

_OF_HOMES = """
    SELECT found.id FROM (
        SELECT pipeline.id FROM pipeline JOIN project ON project.id = pipeline.project_id WHERE {homes}
    ) AS home
    CROSS JOIN LATERAL (
        SELECT run.id FROM run WHERE run.pipeline_id = home.id{also} ORDER BY run.id DESC LIMIT :most
    ) AS found
    ORDER BY found.id DESC LIMIT :most
"""
_OF_ALL = "SELECT run.id FROM run WHERE {where} ORDER BY run.id DESC LIMIT :most"
_PROJECT = "run.project_id = (SELECT project.id FROM project WHERE project.slug = :project)"


def runs_found(
    *,
    project: str | None,
    pipeline: str | None,
    status: str | None,
    trigger: str | None,
    since: datetime | None,
    until: datetime | None,
    before: UUID | None,
) -> tuple[str, dict[str, Any]]:
    """The newest `:most` of those that are wanted, as a statement, and its values."""
    wanted: list[str] = []
    values: dict[str, Any] = {}
    if status is not None:
        # The indexes of runs that go on, and of ended ones, are apart.
        has_ended = "IS NOT NULL" if status in FINISHED_RUN else "IS NULL"
        wanted.append(f"run.status = :status AND run.ended_at {has_ended}")
        values["status"] = status
    if trigger is not None:
        wanted.append("run.trigger = :trigger")
        values["trigger"] = storable(trigger)
    if since is not None:
        wanted.append("run.created_at >= :since AND run.id >= :first")
        values |= {"since": since, "first": id_near(since, -APART)}
    if until is not None:
        wanted.append("run.created_at < :until AND run.id < :after")
        values |= {"until": until, "after": id_near(until, APART)}
    if before is not None:
        wanted.append("run.id < :before")
        values["before"] = before
    if project is not None:
        values["project"] = storable(project)
    if pipeline is not None:
        homes = "pipeline.slug = :pipeline" + (" AND project.slug = :project" if project is not None else "")
        values["pipeline"] = storable(pipeline)
        return _OF_HOMES.format(homes=homes, also="".join(f" AND {each}" for each in wanted)), values
    if project is not None:
        wanted.append(_PROJECT)
    return _OF_ALL.format(where=" AND ".join(wanted) or "true"), values
