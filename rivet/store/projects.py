"""Projects: made, deleted, and forgotten when nothing of a deleted one is left."""

from sqlalchemy import Connection, text

from rivet.domain.ids import PipelineId, ProjectId
from rivet.store.plain_json import storable

_ADD = text("INSERT INTO project (slug) VALUES (:slug) ON CONFLICT DO NOTHING")
_LOCK = text("SELECT id FROM project WHERE slug = :slug AND deleted_at IS NULL FOR UPDATE")
_PIPELINES = text("SELECT id, slug FROM pipeline WHERE project_id = :project ORDER BY slug")
_EMPTY = (
    text("DELETE FROM secret WHERE project_id = :project"),
    text("DELETE FROM folder WHERE project_id = :project"),
    # No name has a tilde: the old one is free, and nobody can ask for this one.
    text("UPDATE project SET deleted_at = now(), slug = '~' || id WHERE id = :project"),
)
_FORGET = text(
    """
    DELETE FROM project WHERE deleted_at IS NOT NULL
      AND NOT EXISTS (SELECT FROM pipeline WHERE project_id = project.id)
      AND NOT EXISTS (SELECT FROM cache WHERE project_id = project.id)
      AND NOT EXISTS (SELECT FROM folder WHERE project_id = project.id)
      AND NOT EXISTS (SELECT FROM secret WHERE project_id = project.id)
      AND NOT EXISTS (SELECT FROM blob WHERE project_id = project.id)
      AND NOT EXISTS (SELECT FROM piece WHERE project_id = project.id)
    """
)


class PostgresProjects:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, slug: str) -> bool:
        return self._connection.execute(_ADD, {"slug": slug}).rowcount == 1

    def lock(self, slug: str) -> ProjectId | None:
        found = self._connection.execute(_LOCK, {"slug": storable(slug)}).scalar_one_or_none()
        return None if found is None else ProjectId(found)

    def pipelines(self, project: ProjectId) -> list[tuple[PipelineId, str]]:
        rows = self._connection.execute(_PIPELINES, {"project": project})
        return [(PipelineId(row.id), row.slug) for row in rows]

    def delete(self, project: ProjectId) -> None:
        for statement in _EMPTY:
            self._connection.execute(statement, {"project": project})

    def drop_deleted(self) -> int:
        return self._connection.execute(_FORGET).rowcount
