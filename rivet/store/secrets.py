"""Secrets, sealed."""

from collections.abc import Sequence

from sqlalchemy import Connection, Text, bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from rivet.domain.ids import ProjectId
from rivet.domain.secret import Audience, Sealed, Secret
from rivet.store.plain_json import storable
from rivet.store.tables import SECRET, AnyRow

_OF = (SECRET.c.project_id == bindparam("project"), SECRET.c.name == bindparam("name"))
_GET = select(*SECRET.c).where(*_OF)
_NEW = insert(SECRET)
_PUT = _NEW.on_conflict_do_update(
    index_elements=["project_id", "name"],
    set_={
        **{
            name: _NEW.excluded[name]
            for name in ("key_id", "nonce", "sealed", "pipelines", "branches", "all_pipelines", "set_by")
        },
        "updated_at": func.now(),
    },
).returning(*SECRET.c)
_DELETE = delete(SECRET).where(*_OF)
_AFTER = bindparam("after", type_=Text)
_OF_PROJECT = (
    select(*SECRET.c)
    .where(SECRET.c.project_id == bindparam("project"), SECRET.c.name > func.coalesce(_AFTER, ""))
    .order_by(SECRET.c.name)
    .limit(bindparam("most"))
)


class PostgresSecrets:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, project: ProjectId, name: str) -> Secret | None:
        row = self._connection.execute(_GET, {"project": project, "name": storable(name)}).one_or_none()
        return _secret(row) if row else None

    def put(self, project: ProjectId, name: str, sealed: Sealed, audience: Audience, actor: str) -> Secret:
        row = self._connection.execute(
            _PUT,
            {
                "project_id": project,
                "name": name,
                "key_id": sealed.key_id,
                "nonce": sealed.nonce,
                "sealed": sealed.data,
                "pipelines": list(audience.pipelines),
                "branches": list(audience.branches),
                "all_pipelines": audience.all_pipelines,
                "set_by": actor,
            },
        ).one()
        return _secret(row)

    def delete(self, project: ProjectId, name: str) -> bool:
        done = self._connection.execute(_DELETE, {"project": project, "name": storable(name)})
        return done.rowcount == 1

    def of_project(self, project: ProjectId, *, after: str | None, limit: int) -> Sequence[Secret]:
        after = None if after is None else storable(after)
        rows = self._connection.execute(_OF_PROJECT, {"project": project, "after": after, "most": limit})
        return [_secret(row) for row in rows]


def _secret(row: AnyRow) -> Secret:
    return Secret(
        project_id=ProjectId(row.project_id),
        name=row.name,
        sealed=Sealed(row.key_id, bytes(row.nonce), bytes(row.sealed)),
        audience=Audience(tuple(row.pipelines), tuple(row.branches), row.all_pipelines),
        set_by=row.set_by,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
