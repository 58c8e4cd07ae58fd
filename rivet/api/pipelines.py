"""Pipelines: check, save, list, read, and their versions."""

from typing import Any

from apiflask import APIBlueprint
from flask import url_for
from pydantic import Field, field_validator

from rivet.api.auth import needs_admin
from rivet.api.body import Body
from rivet.api.desk import the_web
from rivet.api.idempotency import once
from rivet.api.operation import refuses
from rivet.api.paging import Paged, bad_cursor, page
from rivet.api.shown import CheckedShown, PipelinePage, PipelineWithSource, SavedShown, VersionPage
from rivet.domain.errors import Conflict, InvalidPipeline, NotFound
from rivet.engine.bound_pipeline import bound_pipeline
from rivet.engine.delete_pipeline import delete_pipeline
from rivet.engine.save_pipeline import save_pipeline

MAX_SOURCE_BYTES = 1024 * 1024

pipelines = APIBlueprint("pipelines", __name__, tag="Pipelines")


def bounded_source(source: str) -> str:
    """Raises ValueError for a source over its bound."""
    size = len(source.encode("utf-8", "surrogatepass"))
    if size > MAX_SOURCE_BYTES:
        raise ValueError(
            f"has {size} bytes; a pipeline's source has at most 1 MiB ({MAX_SOURCE_BYTES} bytes). "
            "Move data that stages need into files of the repository"
        )
    return source


class Source(Body):
    """A pipeline's Lua text."""

    source: str = Field(description="The Lua text, at most 1 MiB.")

    @field_validator("source")
    @classmethod
    def _bounded(cls, source: str) -> str:
        return bounded_source(source)


class ToKeep(Body):
    """What of a pipeline's runs is kept. The last one that passed is kept always."""

    keep_days: int | None = Field(
        default=None, ge=1, le=36500, description="Days after their end. Absent: as the settings say."
    )
    keep_runs: int | None = Field(
        default=None, ge=1, le=10_000_000, description="The newest so many. Absent: as the settings say."
    )


class ToCheck(Source):
    filename: str = Field(default="rivet.lua", min_length=1, max_length=255, description="For messages.")


@pipelines.post("/pipelines/check")
@needs_admin
@pipelines.input(ToCheck)
@pipelines.output(CheckedShown)
@pipelines.doc(operation_id="check_source", summary="Check a source; nothing is stored", security="bearer")
def check(json_data: ToCheck) -> dict[str, Any]:
    checked = the_web().evaluator.check(json_data.source, json_data.filename)
    definition = checked.definition
    return {
        "valid": definition is not None,
        "name": definition.name if definition else None,
        "slug": definition.slug if definition else None,
        "findings": [place.as_dict() for place in checked.places],
    }


@pipelines.post("/projects/<project>/pipelines")
@needs_admin
@once
@refuses(Conflict, InvalidPipeline)
@pipelines.input(Source)
@pipelines.output(SavedShown, status_code=201)
@pipelines.doc(
    operation_id="save_pipeline",
    summary="Save a pipeline, or a new version of it",
    security="bearer",
    responses={200: "It was there already, and has a new version"},
)
def save(project: str, json_data: Source) -> Any:
    saved, created = _saved(project, json_data.source, None)
    where = url_for("pipelines.read", project=project, slug=saved["slug"])
    return saved, 201 if created else 200, {"Location": where}


@pipelines.get("/projects/<project>/pipelines")
@needs_admin
@pipelines.input(Paged, location="query")
@pipelines.output(PipelinePage)
@pipelines.doc(operation_id="list_pipelines", summary="List pipelines by slug", security="bearer")
def list_all(project: str, query_data: Paged) -> dict[str, Any]:
    _require_project(project)
    return page(*the_web().stored.pipelines(project, after=query_data.after(), limit=query_data.limit))


@pipelines.get("/projects/<project>/pipelines/<slug>")
@needs_admin
@pipelines.output(PipelineWithSource)
@pipelines.doc(
    operation_id="read_pipeline",
    summary="Read a pipeline with its newest source",
    security="bearer",
)
def read(project: str, slug: str) -> dict[str, Any]:
    return _read(project, slug)


@pipelines.put("/projects/<project>/pipelines/<slug>")
@needs_admin
@refuses(Conflict, InvalidPipeline)
@pipelines.input(Source)
@pipelines.output(SavedShown)
@pipelines.doc(operation_id="publish_version", summary="Publish a new version", security="bearer")
def publish(project: str, slug: str, json_data: Source) -> dict[str, Any]:
    return _saved(project, json_data.source, slug)[0]


@pipelines.put("/projects/<project>/pipelines/<slug>/keep")
@needs_admin
@pipelines.input(ToKeep)
@pipelines.output(PipelineWithSource)
@pipelines.doc(
    operation_id="bound_pipeline",
    summary="Keep fewer runs of a pipeline than the settings say, or for less long",
    security="bearer",
)
def keep(project: str, slug: str, json_data: ToKeep) -> dict[str, Any]:
    bound_pipeline(project, slug, json_data.keep_days, json_data.keep_runs, store=the_web().store)
    return _read(project, slug)


@pipelines.delete("/projects/<project>/pipelines/<slug>")
@needs_admin
@refuses(Conflict)
@pipelines.output({}, status_code=204)
@pipelines.doc(
    operation_id="delete_pipeline",
    summary="Delete a pipeline with its versions and runs, if none of them goes on",
    security="bearer",
)
def delete(project: str, slug: str) -> tuple[str, int]:
    delete_pipeline(project, slug, store=the_web().store)
    return "", 204


@pipelines.get("/projects/<project>/pipelines/<slug>/versions")
@needs_admin
@pipelines.input(Paged, location="query")
@pipelines.output(VersionPage)
@pipelines.doc(
    operation_id="list_versions",
    summary="List published versions, newest first",
    security="bearer",
)
def versions(project: str, slug: str, query_data: Paged) -> dict[str, Any]:
    _read(project, slug)
    after = query_data.after()
    if after is not None and not (after.isascii() and after.isdecimal() and 0 < int(after[:11]) < 2**31):
        raise bad_cursor()
    before = None if after is None else int(after)
    return page(*the_web().stored.versions(project, slug, before=before, limit=query_data.limit))


def _saved(project: str, source: str, slug: str | None) -> tuple[dict[str, Any], bool]:
    web = the_web()
    saved = save_pipeline(project, source, slug=slug, store=web.store, evaluator=web.evaluator)
    findings = [place.as_dict() for place in saved.checked.places]
    return _read(project, saved.pipeline.slug) | {"findings": findings}, saved.created


def _read(project: str, slug: str) -> dict[str, Any]:
    found = the_web().stored.pipeline(project, slug)
    if found is None:
        _require_project(project)
        raise NotFound(f'project "{project}" has no pipeline "{slug}" (`rivet pipeline list` shows all)')
    return found


def _require_project(project: str) -> None:
    if not the_web().stored.has_project(project):
        raise NotFound(f'there is no project "{project}"')
