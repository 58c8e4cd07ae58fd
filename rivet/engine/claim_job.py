"""Claim a job: a compare-and-set that hands the order to one runner's session."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from rivet.domain.errors import Fenced, Forbidden, WrongProtocol
from rivet.domain.ids import Epoch, JobId, SessionId
from rivet.domain.job import Job
from rivet.domain.order import PROTOCOL, Grants, Order, OrderedStage, Start
from rivet.domain.record import ControlEvent
from rivet.domain.run import Run, end_of
from rivet.domain.states import FINISHED_STAGE, JobStatus, OnLost, RunStatus
from rivet.engine.hand_on import is_kept_for_others, what_it_brings, what_it_hands_on
from rivet.engine.place_job import is_shared, source_of, start_of
from rivet.engine.ports import Store, Tickets, Token, Tx

TICKET_GRACE_S = 3600.0
LAST_S = 300.0


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
        found = tx.jobs.lock_asked(job_id, session)
        if found is None:
            raise Fenced(f"job {job_id} is not to be had: drop the message")
        job, runner = found
        if runner is None or runner.token_id != token.id:
            raise Fenced("this session is not known: register again")
        if job.epoch != epoch:
            raise Fenced(f"job {job_id} is not to be had in epoch {epoch}: drop the message")
        if job.queue not in token.queues:
            raise Forbidden(f'the token does not serve the queue "{job.queue}"')
        if job.status is JobStatus.QUEUED and tx.jobs.claim(job, runner.name, session):
            _note_start(job, runner.name, tx)
        elif not (job.status is JobStatus.RUNNING and job.session == session):
            raise Fenced(f"job {job_id} is {job.status}, paused, or held by another: drop the message")
        run = tx.runs.get(job.run_id)
        if run is None:
            raise Fenced(f"the run of job {job_id} is gone")
        return _order(replace(job, runner=runner.name), run, session, tickets, tx)


def _note_start(job: Job, runner: str, tx: Tx) -> None:
    run = tx.runs.lock(job.run_id)
    if run is not None and run.status in (RunStatus.QUEUED, RunStatus.WAITING):
        tx.runs.move(run, RunStatus.RUNNING)
    tx.records.append(
        job.run_id,
        [(ControlEvent.JOB_STARTED, {"job": str(job.id), "epoch": job.epoch, "runner": runner})],
    )


def _order(job: Job, run: Run, session: SessionId, tickets: Tickets, tx: Tx) -> Order:
    version = tx.pipelines.version(run.version_id)
    if version is None:
        raise Fenced(f"the version of job {job.id} is gone")
    jobs = tx.jobs.of_run(run.id)
    all_stages = tx.stages.of_run(run.id)
    stages = [stage for stage in all_stages if stage.job_id == job.id]
    some_said = any(stage.status in FINISHED_STAGE or stage.approved_by for stage in all_stages)
    source = source_of(job, jobs)
    start = _start(source, job, jobs, tx)
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
        outputs=tx.stages.outputs(run.id) if some_said else {},
        facts={**run.facts, **(_heading(run, tx) if job.is_last else {})},
        stages=tuple(
            OrderedStage(
                key=stage.key,
                name=stage.name,
                path=stage.spec.path,
                next_attempt=stage.attempts + 1,
                timeout_s=stage.timeout_s,
                env=stage.env,
                status=stage.status,
                has_when=stage.spec.has_when,
                row=stage.spec.row,
                retry=stage.spec.retry,
                allow_failure=stage.spec.allow_failure,
                keep=stage.spec.keep if is_kept_for_others(stage, all_stages) else (),
            )
            for stage in stages
            if stage.from_run is None
        ),
        env=run.plan.env,
        grants=Grants(run.plan.network, run.plan.network_hosts, run.plan.hosts),
        limits=run.plan.limits,
        isolation=run.plan.isolation,
        on_lost=OnLost(run.plan.on_lost),
        timeout_left_s=_time_left_s(job, run, tx.now()),
        ticket=tickets.issue(job.id, job.epoch, session, expires),
        secrets=run.plan.secrets,
        start=start,
        hands_on=what_it_hands_on(job, jobs, all_stages, tx),
        brings=what_it_brings(job, source, jobs, all_stages, tx),
        output_lists=tx.stages.output_lists(run.id) if some_said else {},
        folder=tx.folders.get(run.project_id, run.folder) if start is None and run.folder else None,
    )


def _start(source: Job | None, job: Job, jobs: Sequence[Job], tx: Tx) -> Start | None:
    """`finally` may begin without it, where it is neither on the same runner nor stored."""
    left, stored = start_of(job, jobs, tx)
    if left is None:
        return None
    if job.is_last and stored is None and not left.is_empty and left.runner != job.runner:
        return None
    shared = source is None or job.origin is not None or is_shared(source, jobs)
    return Start(left.job, left.epoch, shared, stored, left.stage, left.is_empty)


def _heading(run: Run, tx: Tx) -> Mapping[str, Any]:
    """What `finally` knows of the run: the end that it is heading for, and what broke it."""
    jobs = {job.id: job for job in tx.jobs.of_run(run.id)}
    stages = [stage for stage in tx.stages.of_run(run.id) if not jobs[stage.job_id].is_last]
    status = end_of([stage.status for stage in stages], cancelling=run.status is RunStatus.CANCELLING)
    broken = next((stage.name for stage in stages if stage.status.value == status.value), None)
    return {"status": status, "failed_stage": None if status is RunStatus.PASSED else broken}


def _time_left_s(job: Job, run: Run, now: datetime) -> float:
    """Of the run's timeout; `finally` has five minutes at least, and no more where the run was cancelled."""
    spent_s = (now - run.started_at).total_seconds() - run.waited_s if run.started_at else 0.0
    left_s = max(run.plan.timeout_s - spent_s, 0.0)
    if not job.is_last:
        return left_s
    return LAST_S if run.status is RunStatus.CANCELLING else max(left_s, LAST_S)
