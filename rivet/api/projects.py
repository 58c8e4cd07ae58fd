"""Projects: what belongs together, mostly one repository."""

from typing import Any

from apiflask import APIBlueprint
from flask import url_for
from pydantic import Field

from rivet.api.auth import needs_admin
from rivet.api.body import Body
from rivet.api.desk import the_web
from rivet.api.idempotency import once
from rivet.api.operation import refuses
from rivet.api.paging import Paged, page
from rivet.api.shown import ProjectPage, ProjectShown
from rivet.domain.errors import Conflict
from rivet.engine.create_project import create_project
from rivet.engine.delete_project import delete_project

projects = APIBlueprint("projects", __name__, tag="Projects")


class ToCreate(Body):
    name: str = Field(min_length=1, max_length=100, description="Small letters, digits and hyphens.")


@projects.get("/projects")
@needs_admin
@projects.input(Paged, location="query")
@projects.output(ProjectPage)
@projects.doc(operation_id="list_projects", summary="List projects by name", security="bearer")
def list_all(query_data: Paged) -> dict[str, Any]:
    return page(*the_web().stored.projects(after=query_data.after(), limit=query_data.limit))


@projects.post("/projects")
@needs_admin
@once
@refuses(Conflict)
@projects.input(ToCreate)
@projects.output(ProjectShown, status_code=201)
@projects.doc(operation_id="create_project", summary="Create a project", security="bearer")
def create(json_data: ToCreate) -> Any:
    web = the_web()
    create_project(json_data.name, store=web.store)
    where = url_for("pipelines.list_all", project=json_data.name)
    return web.stored.project(json_data.name), 201, {"Location": where}


@projects.delete("/projects/<project>")
@needs_admin
@refuses(Conflict)
@projects.output({}, status_code=204)
@projects.doc(
    operation_id="delete_project",
    summary="Delete a project with all that hangs on it, if none of its runs goes on",
    security="bearer",
)
def delete(project: str) -> tuple[str, int]:
    delete_project(project, store=the_web().store)
    return "", 204
