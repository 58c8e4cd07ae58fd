"""Reruns: run a run again, all of it or a part, and say beforehand what is still there for it."""

from datetime import timedelta
from typing import Any

from apiflask import APIBlueprint
from flask import url_for
from pydantic import BaseModel, Field, model_validator

from rivet.api.auth import needs_admin
from rivet.api.body import Body, may_have_no_body
from rivet.api.desk import the_token, the_web
from rivet.api.idempotency import made_id, once
from rivet.api.operation import refuses
from rivet.api.pipelines import bounded_source
from rivet.api.runs import InProject
from rivet.api.shown import RunShown
from rivet.domain.errors import Conflict, InvalidPipeline
from rivet.domain.ids import RunId
from rivet.domain.rerun import Form
from rivet.engine.begin_again import begin_again
from rivet.engine.rerun_run import RerunPlan, RerunRequest, plan_rerun, rerun_run
from rivet.engine.rerun_sources import Source
from rivet.store.records import iso

reruns = APIBlueprint("reruns", __name__, tag="Runs")


class ToRerun(Body):
    """What of the run: all of it, or one of `failed`, `from_stage` and `stage`."""

    failed: bool = Field(default=False, description="The jobs that did not pass, and what builds on them.")
    from_stage: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="The stage or group of that key, and all that comes after it or needs it.",
    )
    stage: str | None = Field(
        default=None, min_length=1, max_length=200, description="That stage alone, and what builds on it."
    )
    source: str | None = Field(default=None, description="Run this text instead, as an unpublished version.")

    @model_validator(mode="after")
    def _one_form(self) -> "ToRerun":
        if sum((self.failed, self.from_stage is not None, self.stage is not None)) > 1:
            raise ValueError("failed, from_stage and stage: expected at most one of them")
        if self.source is not None:
            bounded_source(self.source)
        return self

    def form(self) -> Form:
        if self.failed:
            return Form.FAILED
        if self.from_stage is not None:
            return Form.FROM
        return Form.WHOLE if self.stage is None else Form.STAGE


class StandsShown(BaseModel):
    """A stage that stands as it ended, and the run in which it ran."""

    stage: str
    status: str
    run: str


class SourceShown(BaseModel):
    """`gone` says why it cannot be had; `is_needed`: without it there is no rerun."""

    what: str = Field(description="`workspace`, the `files` that a stage kept, or the run's `folder`.")
    stage: str
    needed_by: str
    runner: str | None = Field(description="Who has it; null where the server does.")
    until: str | None = Field(description="When it goes, at the latest.")
    gone: str | None
    is_needed: bool


class LogsShown(BaseModel):
    """Logs of stages that stand; `gone` says why they cannot be read any more."""

    run: str
    name: str | None
    until: str | None = Field(description="They stay until then at least.")
    gone: str | None


class RerunPlanShown(BaseModel):
    run: str
    again: list[str]
    stand: list[StandsShown]
    sources: list[SourceShown]
    logs: list[LogsShown]
    possible: bool
    refusal: str | None
    instead: str | None = Field(description="A stage with which it could be begun, where it cannot be so.")


@reruns.post("/runs/<run>/rerun")
@needs_admin
@once
@refuses(Conflict, InvalidPipeline)
@reruns.input(InProject, location="query")
@may_have_no_body
@reruns.input(ToRerun)
@reruns.output(RunShown, status_code=202)
@reruns.doc(
    operation_id="rerun_run",
    summary="Run a run again: all of it, what failed, or from a stage on; a stage of one that goes on",
    security="bearer",
)
def rerun(run: str, query_data: InProject, json_data: ToRerun) -> Any:
    web, again = the_web(), made_id()
    found = web.runs.find(run, query_data.project)
    if json_data.stage is not None and json_data.source is None and _goes_on(found):
        begin_again(found, json_data.stage, the_token().name, store=web.store)
        return web.runs.one(found, web.base_url), 202
    asked = _asked(found, json_data, None if again is None else RunId(again))
    made = rerun_run(asked, store=web.store, evaluator=web.evaluator, ids=web.ids)
    return web.runs.one(made, web.base_url), 202, {"Location": url_for("runs.read", run=str(made))}


@reruns.post("/runs/<run>/rerun/plan")
@needs_admin
@refuses(Conflict, InvalidPipeline)
@reruns.input(InProject, location="query")
@may_have_no_body
@reruns.input(ToRerun)
@reruns.output(RerunPlanShown)
@reruns.doc(
    operation_id="plan_rerun",
    summary="What a rerun would run, what would stand, what is still there for it; nothing is run",
    security="bearer",
)
def plan(run: str, query_data: InProject, json_data: ToRerun) -> Any:
    web = the_web()
    found = web.runs.find(run, query_data.project)
    asked = _asked(found, json_data, None)
    return _shown(found, plan_rerun(asked, store=web.store, evaluator=web.evaluator, ids=web.ids))


def _goes_on(run: RunId) -> bool:
    with the_web().store.begin() as tx:
        found = tx.runs.get(run)
        return found is not None and not found.is_finished


def _asked(run: RunId, body: ToRerun, id: RunId | None) -> RerunRequest:
    return RerunRequest(
        run=run,
        actor=the_token().name,
        form=body.form(),
        stage=body.from_stage or body.stage,
        source=body.source,
        id=id,
    )


def _shown(run: RunId, planned: RerunPlan) -> dict[str, Any]:
    draft = planned.draft
    return {
        "run": str(run),
        "again": [stage.key for stage in draft.stages if stage.from_run is None],
        "stand": [
            {"stage": stage.key, "status": stage.status, "run": str(stage.from_run)} for stage in draft.kept
        ],
        "sources": [_source(source) for source in planned.sources],
        "logs": [_logs(ran) for ran in dict.fromkeys(stage.from_run for stage in draft.kept) if ran],
        "possible": planned.refusal is None,
        "refusal": planned.refusal,
        "instead": planned.instead,
    }


def _logs(ran: RunId) -> dict[str, Any]:
    """Of the run in which stages really ran that stand."""
    web = the_web()
    with web.store.begin() as tx:
        run = tx.runs.get(ran)
    if run is None:
        return {"run": str(ran), "name": None, "until": None, "gone": "that run has been deleted"}
    expired = web.runs.logs_expired_at(ran)
    days = timedelta(days=web.settings.keep().logs_days)
    until = run.ended_at + days if run.ended_at is not None and expired is None else None
    return {
        "run": str(ran),
        "name": f"{run.pipeline}#{run.number}",
        "until": None if until is None else iso(until),
        "gone": None if expired is None else f"they expired on {expired:%Y-%m-%d}",
    }


def _source(source: Source) -> dict[str, Any]:
    return {
        "what": source.what,
        "stage": source.stage,
        "needed_by": source.needed_by,
        "runner": source.where,
        "until": None if source.until is None else iso(source.until),
        "gone": source.gone,
        "is_needed": source.is_needed,
    }
