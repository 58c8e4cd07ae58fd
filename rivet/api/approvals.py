"""Approvals: answer what a stage of a run waits for."""

from typing import Any

from apiflask import APIBlueprint
from pydantic import Field

from rivet.api.auth import needs_admin
from rivet.api.body import Body, may_have_no_body
from rivet.api.desk import the_token, the_web
from rivet.api.idempotency import once
from rivet.api.operation import refuses
from rivet.api.runs import InProject
from rivet.api.shown import RunShown
from rivet.domain.errors import Conflict
from rivet.engine.answer_approval import approve, reject

approvals = APIBlueprint("approvals", __name__, tag="Runs")


class ToApprove(Body):
    """Answers to what the approval asks, by name."""

    inputs: dict[str, Any] = Field(default_factory=dict, max_length=100, description="By name.")


class ToReject(Body):
    """Why, for those who read the run."""

    reason: str = Field(default="", max_length=2000)


@approvals.post("/runs/<run>/stages/<key>/approve")
@needs_admin
@once
@refuses(Conflict)
@approvals.input(InProject, location="query")
@may_have_no_body
@approvals.input(ToApprove)
@approvals.output(RunShown)
@approvals.doc(
    operation_id="approve_stage",
    summary="Let a stage that waits for a person go on",
    security="bearer",
)
def let_go_on(run: str, key: str, query_data: InProject, json_data: ToApprove) -> Any:
    web = the_web()
    found = web.runs.find(run, query_data.project)
    approve(found, key, the_token().name, json_data.inputs, store=web.store)
    return web.runs.one(found, web.base_url)


@approvals.post("/runs/<run>/stages/<key>/reject")
@needs_admin
@once
@refuses(Conflict)
@approvals.input(InProject, location="query")
@may_have_no_body
@approvals.input(ToReject)
@approvals.output(RunShown)
@approvals.doc(
    operation_id="reject_stage",
    summary="End a stage that waits for a person: failed, rejected",
    security="bearer",
)
def turn_down(run: str, key: str, query_data: InProject, json_data: ToReject) -> Any:
    web = the_web()
    found = web.runs.find(run, query_data.project)
    reject(found, key, the_token().name, json_data.reason, store=web.store)
    return web.runs.one(found, web.base_url)
