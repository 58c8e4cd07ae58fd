"""What a runner asks for the secrets of a job that it holds, with the job's ticket."""

import base64
from typing import Any
from uuid import UUID

from apiflask import APIBlueprint
from pydantic import Field

from rivet.api.auth import ticket_for
from rivet.api.body import RunnerBody
from rivet.api.desk import the_web
from rivet.api.operation import refuses
from rivet.api.told import SecretTold
from rivet.domain.errors import Conflict, Fenced
from rivet.domain.ids import JobId, StageKey
from rivet.engine.hand_out_secret import hand_out_secret

runner_secrets = APIBlueprint("runner_secrets", __name__, tag="Runner protocol", url_prefix="/runner")


class Asking(RunnerBody):
    """In which stage it is wanted."""

    stage: str | None = Field(default=None, max_length=200, description="In which stage, for the record.")


@runner_secrets.post("/jobs/<job>/secrets/<name>")
@refuses(Fenced, Conflict)
@runner_secrets.input(Asking)
@runner_secrets.output(SecretTold)
@runner_secrets.doc(
    operation_id="hand_out_secret",
    summary="The value of a secret that the job's pipeline may use, with the job's ticket",
    security="ticket",
)
def hand_out(job: str, name: str, json_data: Asking) -> Any:
    ticket = ticket_for(_job(job))
    stage = None if json_data.stage is None else StageKey(json_data.stage)
    web = the_web()
    value = hand_out_secret(
        ticket.job, ticket.epoch, ticket.session, name, stage, store=web.store, vault=web.vault
    )
    return {"base64": base64.b64encode(value).decode()}


def _job(text: str) -> JobId:
    try:
        return JobId(UUID(text))
    except ValueError:
        raise Fenced("this is no job's id") from None
