"""Pauses: of pipelines, queues and runners; and the queues, where one sees what waits."""

from typing import Any

from apiflask import APIBlueprint
from pydantic import Field, field_validator

from rivet.api.auth import needs_admin
from rivet.api.body import Body
from rivet.api.desk import the_token, the_web
from rivet.api.idempotency import once
from rivet.api.operation import refuses
from rivet.api.paging import Paged, page
from rivet.api.shown import PauseShown, QueuePage, Resumed
from rivet.domain.errors import Conflict, InvalidInput
from rivet.domain.pause import MOST_REASON, Paused
from rivet.domain.runner import QUEUE_NAME
from rivet.engine.pause_work import pause_work, resume_work
from rivet.store.records import iso

pauses = APIBlueprint("pauses", __name__, tag="Pauses")


class ToPause(Body):
    """Why it is paused, for whoever asks why nothing begins."""

    why: str = Field(min_length=1, max_length=MOST_REASON, description="For people.")

    @field_validator("why")
    @classmethod
    def _says_something(cls, why: str) -> str:
        if not why.strip():
            raise ValueError("is empty; say in a few words why, for whoever asks")
        return why.strip()


@pauses.post("/projects/<project>/pipelines/<slug>/pause")
@needs_admin
@once
@pauses.input(ToPause)
@pauses.output(PauseShown)
@pauses.doc(
    operation_id="pause_pipeline",
    summary="Let runs of a pipeline wait of which nothing has begun",
    security="bearer",
)
def pause_pipeline(project: str, slug: str, json_data: ToPause) -> dict[str, Any]:
    return _pause(Paused.PIPELINE, slug, json_data.why, project)


@pauses.post("/projects/<project>/pipelines/<slug>/resume")
@needs_admin
@once
@refuses(Conflict)
@pauses.output(Resumed)
@pauses.doc(operation_id="resume_pipeline", summary="Take a pipeline's pause back", security="bearer")
def resume_pipeline(project: str, slug: str) -> dict[str, Any]:
    return _resume(Paused.PIPELINE, slug, project)


@pauses.get("/queues")
@needs_admin
@pauses.input(Paged, location="query")
@pauses.output(QueuePage)
@pauses.doc(operation_id="list_queues", summary="List queues, and what waits in them", security="bearer")
def list_queues(query_data: Paged) -> dict[str, Any]:
    web = the_web()
    found = web.stored.queues(web.settings.lease_seconds, after=query_data.after(), limit=query_data.limit)
    return page(*found)


@pauses.post("/queues/<queue>/pause")
@needs_admin
@once
@pauses.input(ToPause)
@pauses.output(PauseShown)
@pauses.doc(operation_id="pause_queue", summary="Let jobs of a queue wait", security="bearer")
def pause_queue(queue: str, json_data: ToPause) -> dict[str, Any]:
    return _pause(Paused.QUEUE, _queue(queue), json_data.why)


@pauses.post("/queues/<queue>/resume")
@needs_admin
@once
@refuses(Conflict)
@pauses.output(Resumed)
@pauses.doc(operation_id="resume_queue", summary="Take a queue's pause back", security="bearer")
def resume_queue(queue: str) -> dict[str, Any]:
    return _resume(Paused.QUEUE, _queue(queue))


@pauses.post("/runners/<name>/pause")
@needs_admin
@once
@pauses.input(ToPause)
@pauses.output(PauseShown)
@pauses.doc(
    operation_id="pause_runner",
    summary="Let a runner take nothing new until it is resumed; what it holds goes on",
    security="bearer",
)
def pause_runner(name: str, json_data: ToPause) -> dict[str, Any]:
    return _pause(Paused.RUNNER, name, json_data.why)


@pauses.post("/runners/<name>/resume")
@needs_admin
@once
@refuses(Conflict)
@pauses.output(Resumed)
@pauses.doc(operation_id="resume_runner", summary="Take a runner's pause back", security="bearer")
def resume_runner(name: str) -> dict[str, Any]:
    return _resume(Paused.RUNNER, name)


def _queue(name: str) -> str:
    if not QUEUE_NAME.fullmatch(name):
        raise InvalidInput(
            f'queue: "{name[:100]}" is no queue name: letters, digits, ".", "_", "-", at most 63'
        )
    return name


def _pause(kind: Paused, name: str, why: str, project: str = "default") -> dict[str, Any]:
    paused = pause_work(kind, name, why, the_token().name, store=the_web().store, project=project)
    return {"why": paused.why, "actor": paused.actor, "since": iso(paused.since)}


def _resume(kind: Paused, name: str, project: str = "default") -> dict[str, Any]:
    return {"published": resume_work(kind, name, store=the_web().store, project=project)}
