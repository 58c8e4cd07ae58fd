"""Plan a run: which jobs its stages form. Consecutive stages of one queue and one workspace are one job."""

from dataclasses import dataclass

from rivet.domain.ids import NO_EPOCH, JobId, RunId, StageId
from rivet.domain.job import Job
from rivet.domain.pipeline import Definition
from rivet.domain.run import Plan
from rivet.domain.stage import Stage
from rivet.domain.states import JobStatus, StageStatus
from rivet.engine.ports import Ids


@dataclass(frozen=True, slots=True)
class Planned:
    jobs: tuple[Job, ...]
    stages: tuple[Stage, ...]


def plan_pipeline(definition: Definition, run: RunId, ids: Ids) -> Planned:
    """The jobs and stages of a run, all pending. A plain pipeline is one job."""
    job = Job(
        id=JobId(ids.uuid()),
        run_id=run,
        ordinal=1,
        queue=definition.queue,
        status=JobStatus.PENDING,
        reason=None,
        epoch=NO_EPOCH,
        on_lost=definition.on_lost,
    )
    stages = tuple(
        Stage(
            id=StageId(ids.uuid()),
            run_id=run,
            job_id=job.id,
            key=stage.key,
            name=stage.name,
            index=stage.index,
            ordinal=ordinal,
            status=StageStatus.PENDING,
            reason=None,
            env=stage.env,
            timeout_s=stage.timeout_s,
        )
        for ordinal, stage in enumerate(definition.stages, 1)
    )
    return Planned((job,), stages)


def recorded(definition: Definition, digest: str) -> Plan:
    """What of the definition is kept with the run."""
    return Plan(
        env=definition.env,
        network=definition.grants.network,
        network_hosts=definition.grants.network_hosts,
        hosts=definition.grants.hosts,
        limits=definition.limits,
        isolation=definition.isolation,
        timeout_s=definition.timeout_s,
        on_lost=definition.on_lost,
        digest=digest,
        secrets=definition.secrets,
    )
