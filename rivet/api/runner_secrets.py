"""What a runner asks for the secrets of a job that it holds, with the job's ticket."""

import base64
from typing import Any
from uuid import UUID

from apiflask import APIBlueprint
from flask import jsonify
from pydantic import BaseModel, ConfigDict, Field

from rivet.api.auth import ticket_for
from rivet.api.desk import the_web
from rivet.domain.errors import Fenced
from rivet.domain.ids import JobId, StageKey
from rivet.engine.hand_out_secret import hand_out_secret

runner_secrets = APIBlueprint("runner_secrets", __name__, tag="Runner protocol", url_prefix="/runner")


class Asking(BaseModel):
    """Unknown fields are passed over: a newer runner may say more."""

    model_config = ConfigDict(extra="ignore")

    stage: str | None = Field(default=None, max_length=200, description="In which stage, for the record.")


@runner_secrets.post("/jobs/<job>/secrets/<name>")
@runner_secrets.input(Asking)
@runner_secrets.doc(
    summary="The value of a secret that the job's pipeline may use, with the job's ticket",
    security="bearer",
    responses={403: "It was not granted", 404: "There is none", 409: "The job is another's"},
)
def hand_out(job: str, name: str, json_data: Asking) -> Any:
    ticket = ticket_for(_job(job))
    stage = None if json_data.stage is None else StageKey(json_data.stage)
    web = the_web()
    value = hand_out_secret(
        ticket.job, ticket.epoch, ticket.session, name, stage, store=web.store, vault=web.vault
    )
    return jsonify(base64=base64.b64encode(value).decode())


def _job(text: str) -> JobId:
    try:
        return JobId(UUID(text))
    except ValueError:
        raise Fenced("this is no job's id") from None
