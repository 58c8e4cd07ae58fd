"""What runners say, and are told: register, beat, claim a job, renew its lease."""

from typing import Any
from uuid import UUID

from apiflask import APIBlueprint
from pydantic import Field

from rivet.api.auth import needs_runner, ticket_for
from rivet.api.body import MOST_NUMBER, Id, RunnerBody
from rivet.api.desk import the_token, the_web
from rivet.api.operation import refuses
from rivet.api.told import BeatTold, LeaseTold, OrderTold, SessionTold
from rivet.domain.errors import Conflict, Fenced, WrongProtocol
from rivet.domain.ids import Epoch, JobId, SessionId, StageKey
from rivet.domain.runner import Keeping
from rivet.engine.beat_runner import beat_runner
from rivet.engine.claim_job import claim_job
from rivet.engine.register_runner import Registration, register_runner
from rivet.engine.renew_lease import LeaseAnswer, renew_lease

runner_protocol = APIBlueprint("runner_protocol", __name__, tag="Runner protocol", url_prefix="/runner")

MOST_SECONDS = 100 * 365 * 86400.0


class KeepingBody(RunnerBody):
    """What a runner says of the workspaces that it keeps."""

    kept_for_s: float | None = Field(default=None, ge=0, le=MOST_SECONDS)
    kept_longest_s: float | None = Field(default=None, ge=0, le=MOST_SECONDS)

    def keeping(self) -> Keeping | None:
        if self.kept_for_s is None or self.kept_longest_s is None:
            return None
        return Keeping(self.kept_for_s, self.kept_longest_s)


class Registering(KeepingBody):
    name: str = Field(max_length=200)
    queues: list[str] = Field(min_length=1, max_length=100)
    slots: int = Field(ge=1, le=256)
    isolation: str = Field(max_length=100)
    version: str = Field(max_length=100)
    protocol: int = Field(ge=0, le=MOST_NUMBER)
    previous_session: Id | None = None


class Beating(KeepingBody):
    session: Id
    free_slots: int = Field(ge=0, le=MOST_NUMBER)
    own_queue: int = Field(ge=0, le=MOST_NUMBER)
    holds: list[str] = Field(max_length=10_000)
    keeps: list[Id] = Field(default_factory=list, max_length=10_000)
    leaving: bool = False


class Claiming(RunnerBody):
    session: Id
    epoch: int = Field(ge=1, le=MOST_NUMBER)
    protocol: int = Field(default=0, ge=0, le=MOST_NUMBER)


class Renewing(RunnerBody):
    epoch: int = Field(ge=1, le=MOST_NUMBER)
    stage: str | None = Field(default=None, max_length=200)
    attempt: int | None = Field(default=None, ge=1, le=MOST_NUMBER)


@runner_protocol.post("/register")
@needs_runner
@refuses(Conflict, WrongProtocol)
@runner_protocol.input(Registering)
@runner_protocol.output(SessionTold)
@runner_protocol.doc(operation_id="register_runner", summary="Register with a session", security="runner")
def register(json_data: Registering) -> Any:
    web = the_web()
    asked = Registration(
        name=json_data.name,
        queues=tuple(dict.fromkeys(json_data.queues)),
        slots=json_data.slots,
        isolation=json_data.isolation,
        version=json_data.version,
        protocol=json_data.protocol,
        previous_session=json_data.previous_session,
        keeping=json_data.keeping(),
    )
    session = register_runner(
        asked, the_token(), store=web.store, ids=web.ids, lease_s=web.settings.lease_seconds
    )
    return {"session": str(session)}


@runner_protocol.post("/heartbeat")
@needs_runner
@refuses(Fenced)
@runner_protocol.input(Beating)
@runner_protocol.output(BeatTold)
@runner_protocol.doc(
    operation_id="beat_runner",
    summary="Say that the runner lives and what it holds",
    security="runner",
)
def heartbeat(json_data: Beating) -> Any:
    web = the_web()
    beat = beat_runner(
        SessionId(json_data.session),
        json_data.free_slots,
        json_data.own_queue,
        json_data.holds,
        store=web.store,
        lease_s=web.settings.lease_seconds,
        token=the_token(),
        leaving=json_data.leaving,
        keeps=[JobId(job) for job in json_data.keeps],
        keeping=json_data.keeping(),
    )
    again = [{"job": str(job), "epoch": epoch} for job, epoch in beat.publish_again]
    let_go = [str(job) for job in beat.let_go]
    return {"drain": beat.drain, "publish_again": again, "let_go": let_go, "paused": beat.paused}


@runner_protocol.post("/jobs/<job>/claim")
@needs_runner
@refuses(Fenced, WrongProtocol)
@runner_protocol.input(Claiming)
@runner_protocol.output(OrderTold)
@runner_protocol.doc(operation_id="claim_job", summary="Claim a job: its order and ticket", security="runner")
def claim(job: str, json_data: Claiming) -> Any:
    web = the_web()
    order = claim_job(
        job_of(job),
        SessionId(json_data.session),
        Epoch(json_data.epoch),
        json_data.protocol,
        the_token(),
        store=web.store,
        tickets=web.tickets,
    )
    return order.as_dict()


@runner_protocol.post("/jobs/<job>/lease")
@refuses(Fenced)
@runner_protocol.input(Renewing)
@runner_protocol.output(LeaseTold)
@runner_protocol.doc(
    operation_id="renew_lease",
    summary="Renew a job's lease, with its ticket",
    security="ticket",
)
def lease(job: str, json_data: Renewing) -> Any:
    ticket = ticket_for(job_of(job))
    answer = LeaseAnswer("fenced", 0)
    if ticket.epoch == json_data.epoch:
        begun = None
        if json_data.stage is not None and json_data.attempt is not None:
            begun = (StageKey(json_data.stage), json_data.attempt)
        answer = renew_lease(ticket.job, ticket.epoch, ticket.session, begun, store=the_web().store)
    return {"state": answer.state, "scope": answer.scope, "ingested_seq": answer.ingested_seq}


def job_of(text: str) -> JobId:
    """The id in a path. Raises Fenced for what is none."""
    try:
        return JobId(UUID(text))
    except ValueError:
        raise Fenced("this is no job's id: drop the message") from None
