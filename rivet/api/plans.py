"""Plans: what a run would do, without running anything."""

from collections.abc import Iterator
from typing import Any

from apiflask import APIBlueprint
from pydantic import BaseModel, Field, model_validator

from rivet.api.auth import needs_admin
from rivet.api.body import Body
from rivet.api.desk import the_token, the_web
from rivet.api.operation import refuses
from rivet.api.pipelines import bounded_source
from rivet.domain.errors import Conflict, InvalidPipeline, NotFound
from rivet.domain.pipeline import Input
from rivet.engine.rehearse_run import RunPlan, rehearse_run
from rivet.engine.start_run import StartRequest

plans = APIBlueprint("plans", __name__, tag="Pipelines")


class ToPlan(Body):
    """What to plan: a `source`, or a stored `pipeline` of the project."""

    source: str | None = Field(default=None, description="The Lua text, at most 1 MiB.")
    project: str = Field(default="default", min_length=1, max_length=200)
    pipeline: str | None = Field(default=None, min_length=1, max_length=200, description="Its slug.")
    version: int | None = Field(default=None, ge=1, lt=2**31, description="The newest if absent.")
    inputs: dict[str, Any] = Field(default_factory=dict, max_length=500, description="By name.")

    @model_validator(mode="after")
    def _one_of_both(self) -> "ToPlan":
        if (self.source is None) == (self.pipeline is None):
            raise ValueError("source and pipeline: expected one of them")
        if self.source is not None:
            bounded_source(self.source)
        return self


class InputPlanned(BaseModel):
    name: str
    type: str
    required: bool
    default: Any
    options: list[Any]
    pattern: str | None
    description: str
    value: Any
    missing: bool


class PermissionsPlanned(BaseModel):
    network: bool
    network_hosts: list[str]
    hosts: list[str]


class JobPlanned(BaseModel):
    number: int
    queue: str
    stages: list[str]
    waits_for: list[int]
    group: str | None
    is_last: bool


class CallPlanned(BaseModel):
    """`assumed`: what follows rests on an answer that only the call itself could give."""

    call: str
    assumed: bool


class StagePlanned(BaseModel):
    key: str
    name: str
    job: int
    queue: str
    needs: list[str] | None
    row: dict[str, Any] | None
    approval: str | None
    timeout_s: float
    attempts: int
    when: bool | None
    calls: list[CallPlanned]
    left_out: int
    secrets: list[str]
    unknown: str | None


class PlanShown(BaseModel):
    name: str
    slug: str
    inputs: list[InputPlanned]
    permissions: PermissionsPlanned
    secrets: list[str] | None
    isolation: str | None
    timeout_s: float
    jobs: list[JobPlanned]
    stages: list[StagePlanned]
    unknown: list[str]


@plans.post("/pipelines/plan")
@needs_admin
@refuses(Conflict, InvalidPipeline, NotFound)
@plans.input(ToPlan)
@plans.output(PlanShown)
@plans.doc(
    operation_id="plan_run",
    summary="Plan a run: jobs, stages and the calls of scripts; nothing runs",
    security="bearer",
)
def plan(json_data: ToPlan) -> dict[str, Any]:
    web = the_web()
    asked = StartRequest(
        project=json_data.project,
        slug=json_data.pipeline or "",
        inputs=json_data.inputs,
        source=json_data.source,
        version=json_data.version,
        save=False,
        actor=the_token().name,
        trigger="manual",
    )
    return _shown(rehearse_run(asked, store=web.store, evaluator=web.evaluator, ids=web.ids))


def _shown(planned: RunPlan) -> dict[str, Any]:
    definition = planned.definition
    return {
        "name": definition.name,
        "slug": definition.slug,
        "inputs": [_input(each, planned) for each in definition.inputs],
        "permissions": {
            "network": definition.grants.network,
            "network_hosts": list(definition.grants.network_hosts),
            "hosts": list(definition.grants.hosts),
        },
        "secrets": None if definition.secrets is None else list(definition.secrets),
        "isolation": definition.isolation,
        "timeout_s": definition.timeout_s,
        "jobs": list(_jobs(planned)),
        "stages": list(_stages(planned)),
        "unknown": list(planned.unknown),
    }


def _input(each: Input, planned: RunPlan) -> dict[str, Any]:
    return {
        "name": each.name,
        "type": each.type,
        "required": each.required,
        "default": each.default,
        "options": list(each.options),
        "pattern": each.pattern,
        "description": each.description,
        "value": planned.inputs.get(each.name),
        "missing": each.name in planned.missing,
    }


def _jobs(planned: RunPlan) -> Iterator[dict[str, Any]]:
    numbers = {job.id: job.ordinal for job in planned.planned.jobs}
    for job in planned.planned.jobs:
        yield {
            "number": job.ordinal,
            "queue": job.queue,
            "stages": [str(stage.key) for stage in planned.planned.stages if stage.job_id == job.id],
            "waits_for": [numbers[other] for other in job.waits_for],
            "group": None if job.group is None else str(job.group.key),
            "is_last": job.is_last,
        }


def _stages(planned: RunPlan) -> Iterator[dict[str, Any]]:
    jobs = {job.id: job for job in planned.planned.jobs}
    for stage in planned.planned.stages:
        found, spec = planned.rehearsed[stage.key], stage.spec
        yield {
            "key": str(stage.key),
            "name": stage.name,
            "job": jobs[stage.job_id].ordinal,
            "queue": jobs[stage.job_id].queue,
            "needs": None if spec.needs is None else [str(need) for need in spec.needs],
            "row": dict(spec.row) if spec.row else None,
            "approval": None if spec.approval is None else spec.approval.message,
            "timeout_s": stage.timeout_s,
            "attempts": spec.retry.attempts,
            "when": found.when,
            "calls": [{"call": call.call, "assumed": call.assumed} for call in found.calls],
            "left_out": found.left_out,
            "secrets": list(found.secrets),
            "unknown": found.unknown,
        }
