"""Claim a job: a compare-and-set that hands the order to one runner's session."""

from datetime import datetime

from rivet.domain.errors import Fenced, Forbidden, WrongProtocol
from rivet.domain.ids import Epoch, JobId, SessionId
from rivet.domain.job import Job
from rivet.domain.order import PROTOCOL, Grants, Order, OrderedStage
from rivet.domain.record import ControlEvent
from rivet.domain.run import Run
from rivet.domain.states import JobStatus, OnLost, RunStatus
from rivet.engine.ports import Store, Tickets, Token, Tx

TICKET_GRACE_S = 3600.0


def claim_job(
    job_id: JobId,
    session: SessionId,
    epoch: Epoch,
    protocol: int,
    token: Token,
    *,
    store: Store,
    tickets: Tickets,
) -> Order:
    """The order of a queued job, for the first who asks, and for the same session as often as it asks.

    Raises Fenced for anyone else, Forbidden where the job's queue is not the token's, WrongProtocol.
    """
    if protocol != PROTOCOL:
        raise WrongProtocol(
            f"the runner speaks protocol {protocol}, this server {PROTOCOL}", theirs=protocol, ours=PROTOCOL
        )
    with store.begin() as tx:
        runner = tx.runners.by_session(session)
        if runner is None or runner.token_id != token.id:
            raise Fenced("this session is not known: register again")
        job = tx.jobs.lock(job_id)
        if job is None or job.epoch != epoch:
            raise Fenced(f"job {job_id} is not to be had in epoch {epoch}: drop the message")
        if job.queue not in token.queues:
            raise Forbidden(f'the token does not serve the queue "{job.queue}"')
        if job.status is JobStatus.QUEUED and tx.jobs.claim(job, runner.name, session):
            _note_start(job, runner.name, tx)
        elif not (job.status is JobStatus.RUNNING and job.session == session):
            raise Fenced(f"job {job_id} is {job.status} or held by another: drop the message")
        run = tx.runs.get(job.run_id)
        if run is None:
            raise Fenced(f"the run of job {job_id} is gone")
        return _order(job, run, session, tickets, tx)


def _note_start(job: Job, runner: str, tx: Tx) -> None:
    run = tx.runs.lock(job.run_id)
    if run is not None and run.status is RunStatus.QUEUED:
        tx.runs.move(run, RunStatus.RUNNING)
    tx.records.append(
        job.run_id,
        [(ControlEvent.JOB_STARTED, {"job": str(job.id), "epoch": job.epoch, "runner": runner})],
    )


def _order(job: Job, run: Run, session: SessionId, tickets: Tickets, tx: Tx) -> Order:
    version = tx.pipelines.version(run.version_id)
    if version is None:
        raise Fenced(f"the version of job {job.id} is gone")
    stages = tx.stages.of_job(job.id)
    left = run.plan.timeout_s - _spent_s(run, tx.now())
    expires = tx.now().timestamp() + sum(stage.timeout_s for stage in stages) + TICKET_GRACE_S
    return Order(
        job=job.id,
        run=run.id,
        epoch=job.epoch,
        project=run.project,
        pipeline=run.pipeline,
        number=run.number,
        lua=version.lua,
        digest=run.plan.digest,
        inputs=run.inputs,
        outputs=tx.stages.outputs(run.id),
        facts=run.facts,
        stages=tuple(
            OrderedStage(
                key=stage.key,
                name=stage.name,
                index=stage.index,
                next_attempt=stage.attempts + 1,
                timeout_s=stage.timeout_s,
                env=stage.env,
                status=stage.status,
            )
            for stage in stages
        ),
        env=run.plan.env,
        grants=Grants(run.plan.network, run.plan.network_hosts, run.plan.hosts),
        limits=run.plan.limits,
        isolation=run.plan.isolation,
        on_lost=OnLost(run.plan.on_lost),
        timeout_left_s=max(left, 0.0),
        ticket=tickets.issue(job.id, job.epoch, session, expires),
        secrets=run.plan.secrets,
    )


def _spent_s(run: Run, now: datetime) -> float:
    return (now - run.started_at).total_seconds() if run.started_at else 0.0
