"""Runners, as people see them, and the tokens that let new ones in."""

from typing import Any

from apiflask import APIBlueprint
from pydantic import Field, field_validator

from rivet.api.auth import needs_admin
from rivet.api.body import Body
from rivet.api.desk import the_web
from rivet.api.idempotency import once
from rivet.api.operation import refuses
from rivet.api.paging import Paged, page
from rivet.api.shown import DrainAsked, RunnerPage, TokenMade
from rivet.domain.errors import Conflict
from rivet.domain.runner import QUEUE_NAME
from rivet.engine.drain_runner import drain_runner
from rivet.keyring import hash_token, new_token

runners = APIBlueprint("runners", __name__, tag="Runners")


class ToMake(Body):
    """What a new runner token may do."""

    queues: list[str] = Field(min_length=1, max_length=100, description="The queues that may be served.")
    name: str = Field(default="runner", min_length=1, max_length=100, description="For people.")

    @field_validator("queues")
    @classmethod
    def _named(cls, queues: list[str]) -> list[str]:
        for queue in queues:
            if not QUEUE_NAME.fullmatch(queue):
                raise ValueError(
                    f'"{queue[:100]}" is no queue name: letters, digits, ".", "_", "-", at most 63'
                )
        return list(dict.fromkeys(queues))


@runners.get("/runners")
@needs_admin
@runners.input(Paged, location="query")
@runners.output(RunnerPage)
@runners.doc(operation_id="list_runners", summary="List runners", security="bearer")
def list_all(query_data: Paged) -> dict[str, Any]:
    web = the_web()
    found = web.stored.runners(
        web.settings.lease_seconds, after=query_data.after(), limit=query_data.limit
    )
    return page(*found)


@runners.post("/runners/<name>/drain")
@needs_admin
@once
@refuses(Conflict)
@runners.output(DrainAsked, status_code=202)
@runners.doc(
    operation_id="drain_runner",
    summary="Let a runner finish what it holds and end",
    security="bearer",
)
def drain(name: str) -> Any:
    drain_runner(name, store=the_web().store)
    return {"name": name, "status": "draining"}, 202


@runners.post("/runners/tokens")
@needs_admin
@once
@runners.input(ToMake)
@runners.output(TokenMade, status_code=201)
@runners.doc(
    operation_id="make_runner_token",
    summary="Make a runner token; it is told once",
    security="bearer",
)
def make_token(json_data: ToMake) -> Any:
    token = new_token("runner")
    with the_web().store.begin() as tx:
        tx.tokens.add("runner", json_data.name, hash_token(token), json_data.queues)
    made = {"token": token, "kind": "runner", "name": json_data.name, "queues": json_data.queues}
    return made, 201
