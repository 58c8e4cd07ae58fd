"""Runs: start, list, read, cancel."""

from typing import Any, Literal
from uuid import UUID

from apiflask import APIBlueprint
from flask import url_for
from pydantic import BaseModel, ConfigDict, Field, field_validator

from rivet.api.auth import needs_admin
from rivet.api.body import Body, may_have_no_body
from rivet.api.desk import the_token, the_web
from rivet.api.idempotency import made_id, once
from rivet.api.operation import refuses
from rivet.api.paging import Moment, Paged, bad_cursor, page
from rivet.api.pipelines import bounded_source
from rivet.api.shown import RunPage, RunShown
from rivet.domain.errors import Conflict, InvalidPipeline
from rivet.domain.ids import RunId
from rivet.engine.cancel_run import cancel_run
from rivet.engine.cancel_stage import cancel_stage
from rivet.engine.start_run import StartRequest, start_run

runs = APIBlueprint("runs", __name__, tag="Runs")

Status = Literal[
    "queued", "running", "waiting", "cancelling", "passed", "failed", "errored", "cancelled", "timed_out"
]


class ToStart(Body):
    """What to run, and with what."""

    inputs: dict[str, Any] = Field(default_factory=dict, max_length=500, description="By name.")
    version: int | None = Field(default=None, ge=1, description="A published version; the newest if absent.")
    source: str | None = Field(default=None, description="Run this text as an unpublished version.")
    folder: str | None = Field(
        default=None, pattern="^[0-9a-f]{64}$", description="The SHA-256 of an uploaded folder to start from."
    )
    save: bool = Field(default=False, description="Publish `source` as well.")

    @field_validator("source")
    @classmethod
    def _bounded(cls, source: str | None) -> str | None:
        return None if source is None else bounded_source(source)


class ToCancel(Body):
    """What to cancel: the whole run, or the one stage of that key."""

    stage: str | None = Field(default=None, min_length=1, max_length=200, description="A stage's key.")


class Which(Paged):
    """Which runs are listed: those to which all of it applies."""

    project: str | None = Field(default=None, max_length=200, description="A project's name.")
    pipeline: str | None = Field(default=None, max_length=200, description="A pipeline's slug.")
    status: Status | None = Field(default=None, description="How they stand.")
    trigger: str | None = Field(default=None, max_length=100, description="What started them: `manual`, ….")
    since: Moment | None = Field(default=None, description="Started at this time or later (RFC 3339).")
    until: Moment | None = Field(default=None, description="Started before this time (RFC 3339).")


class InProject(BaseModel):
    """Where a run named `pipeline#12` is looked for."""

    model_config = ConfigDict(extra="forbid")

    project: str = Field(default="default", max_length=200)


@runs.post("/projects/<project>/pipelines/<slug>/runs")
@needs_admin
@once
@refuses(Conflict, InvalidPipeline)
@runs.input(ToStart)
@runs.output(RunShown, status_code=202)
@runs.doc(operation_id="start_run", summary="Start a run", security="bearer")
def start(project: str, slug: str, json_data: ToStart) -> Any:
    web, again = the_web(), made_id()
    asked = StartRequest(
        project=project,
        slug=slug,
        inputs=json_data.inputs,
        source=json_data.source,
        version=json_data.version,
        save=json_data.save,
        actor=the_token().name,
        trigger="manual",
        id=None if again is None else RunId(again),
        folder=json_data.folder,
    )
    run = start_run(asked, store=web.store, evaluator=web.evaluator, ids=web.ids)
    return web.runs.one(run, web.base_url), 202, {"Location": url_for("runs.read", run=str(run))}


@runs.get("/runs")
@needs_admin
@runs.input(Which, location="query")
@runs.output(RunPage)
@runs.doc(operation_id="list_runs", summary="List runs, newest first", security="bearer")
def list_all(query_data: Which) -> dict[str, Any]:
    web = the_web()
    after = query_data.after()
    try:
        before = None if after is None else UUID(after)
    except ValueError:
        raise bad_cursor() from None
    return page(
        *web.runs.page(
            project=query_data.project,
            pipeline=query_data.pipeline,
            status=query_data.status,
            trigger=query_data.trigger,
            since=query_data.since,
            until=query_data.until,
            before=before,
            limit=query_data.limit,
            base_url=web.base_url,
        )
    )


@runs.get("/runs/<run>")
@needs_admin
@refuses(Conflict)
@runs.input(InProject, location="query")
@runs.output(RunShown)
@runs.doc(
    operation_id="read_run",
    summary="Read a run, named by its id, a prefix of it, or pipeline#12",
    security="bearer",
)
def read(run: str, query_data: InProject) -> dict[str, Any]:
    web = the_web()
    return web.runs.one(web.runs.find(run, query_data.project), web.base_url)


@runs.post("/runs/<run>/cancel")
@needs_admin
@once
@refuses(Conflict)
@runs.input(InProject, location="query")
@may_have_no_body
@runs.input(ToCancel)
@runs.output(RunShown, status_code=202)
@runs.doc(
    operation_id="cancel_run",
    summary="Cancel a run, or one stage of it; asking again changes nothing",
    security="bearer",
)
def cancel(run: str, query_data: InProject, json_data: ToCancel) -> Any:
    web = the_web()
    found: RunId = web.runs.find(run, query_data.project)
    if json_data.stage is None:
        cancel_run(found, the_token().name, store=web.store)
    else:
        cancel_stage(found, json_data.stage, the_token().name, store=web.store)
    return web.runs.one(found, web.base_url), 202
