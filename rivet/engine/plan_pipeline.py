"""Plan a run: which jobs its stages form, what each waits for, and whose workspace it goes on from.

Consecutive stages of one queue and one workspace are one job. A new one begins where the queue changes, at an
approval, behind a stage that others need, for each member of a group, for a stage with needs, and for
`finally`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from rivet.domain.ids import NO_EPOCH, JobId, RunId, StageId, StageKey
from rivet.domain.job import Group, Job
from rivet.domain.matrix_rules import row_name
from rivet.domain.pipeline import Definition, StageDefinition
from rivet.domain.run import Plan
from rivet.domain.stage import Spec, Stage
from rivet.domain.stage_graph import waits
from rivet.domain.states import JobStatus, StageStatus
from rivet.engine.ports import Ids


@dataclass(frozen=True, slots=True)
class Planned:
    jobs: tuple[Job, ...]
    stages: tuple[Stage, ...]


def plan_pipeline(definition: Definition, run: RunId, ids: Ids) -> Planned:
    """The jobs and stages of a run, all pending."""
    return _Planning(definition, run, ids).plan()


@dataclass
class _Planning:
    definition: Definition
    run: RunId
    ids: Ids
    jobs: list[Job] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    of_stage: dict[StageKey, list[JobId]] = field(default_factory=dict)
    line: Job | None = None
    last_line: JobId | None = None

    def plan(self) -> Planned:
        listed = self.definition.stages
        needed = {need for stage in listed for need in stage.needs or ()}
        for stage in listed:
            if stage.members or stage.matrix is not None:
                self._add_group(stage)
            elif stage.needs is not None:
                self._add_stage(stage, self._new_job(stage, starts_from=None))
                self.line = None
            else:
                self._add_to_line(stage)
            if stage.key in needed:
                self.line = None
        self._wait(listed)
        if self.definition.last:
            job = self._new_job(self.definition.last[0], starts_from=self.last_line, is_last=True)
            for stage in self.definition.last:
                self._add_stage(stage, job)
        return Planned(tuple(self.jobs), tuple(self.stages))

    def _add_to_line(self, stage: StageDefinition) -> None:
        queue = stage.queue or self.definition.queue
        if self.line is None or self.line.queue != queue or stage.approval is not None:
            self.line = self._new_job(stage, starts_from=self.last_line)
            self.last_line = self.line.id
        self._add_stage(stage, self.line)

    def _add_group(self, stage: StageDefinition) -> None:
        self.line = None
        group = Group(stage.key, stage.fail_fast, stage.max_parallel)
        starts_from = self.last_line if stage.needs is None else None
        if stage.matrix is None:
            for member in stage.members:
                wide = replace(member, queue=member.queue or stage.queue)
                job = self._new_job(wide, starts_from=starts_from, group=group)
                self._add_stage(wide, job, of=stage)
        elif stage.matrix.rows is None:
            job = self._new_job(stage, starts_from=starts_from, group=group)
            self._add_stage(stage, job, of=stage)
        else:
            for number, row in enumerate(stage.matrix.rows, 1):
                job = self._new_job(stage, starts_from=starts_from, group=group)
                self._add_stage(copy_of(stage, number, row_name(row)), job, of=stage, row=row)

    def _new_job(
        self,
        stage: StageDefinition,
        *,
        starts_from: JobId | None,
        group: Group | None = None,
        is_last: bool = False,
    ) -> Job:
        job = Job(
            id=JobId(self.ids.uuid()),
            run_id=self.run,
            ordinal=len(self.jobs) + 1,
            queue=stage.queue or self.definition.queue,
            status=JobStatus.PENDING,
            reason=None,
            epoch=NO_EPOCH,
            on_lost=self.definition.on_lost,
            starts_from=starts_from,
            group=group,
            is_last=is_last,
        )
        self.jobs.append(job)
        return job

    def _add_stage(
        self, stage: StageDefinition, job: Job, *, of: StageDefinition | None = None, row: object = None
    ) -> None:
        made = stage_row(stage, self.run, job.id, StageId(self.ids.uuid()), len(self.stages) + 1)
        spec = replace(
            made.spec,
            needs=stage.needs if of is None else of.needs,
            group=None if of is None else of.key,
            row=row if isinstance(row, dict) else None,
            is_open=stage.matrix is not None and stage.matrix.rows is None,
        )
        self.stages.append(replace(made, spec=spec))
        self.of_stage.setdefault(of.key if of is not None else stage.key, []).append(job.id)

    def _wait(self, listed: Sequence[StageDefinition]) -> None:
        """Say for each job which others it waits for: those of the stages that its first one waits for."""
        graph = waits(listed)
        for stage in listed:
            jobs = dict.fromkeys(self.of_stage[stage.key])
            behind = _jobs_of(graph[stage.key], self.of_stage)
            for place, job in enumerate(self.jobs):
                if job.id in jobs and not job.waits_for:
                    others = tuple(each for each in behind if each not in jobs)
                    self.jobs[place] = replace(job, waits_for=others)


def stage_row(stage: StageDefinition, run: RunId, job: JobId, id: StageId, ordinal: int) -> Stage:
    """A pending stage of the run, as its definition says."""
    spec = Spec(
        path=stage.path,
        has_script=stage.has_script,
        has_when=stage.has_when,
        exclude=stage.matrix.exclude if stage.matrix is not None else (),
        keep=stage.keep,
        retry=stage.retry,
        allow_failure=stage.allow_failure,
        approval=stage.approval,
    )
    return Stage(
        id=id,
        run_id=run,
        job_id=job,
        key=stage.key,
        name=stage.name,
        ordinal=ordinal,
        status=StageStatus.PENDING,
        reason=None,
        env=stage.env,
        timeout_s=stage.timeout_s,
        spec=spec,
    )


def copy_of(stage: StageDefinition, number: int, row: str) -> StageDefinition:
    """One copy of a matrix stage, under its own key and name."""
    return replace(stage, key=StageKey(f"{stage.key}.{number}"), name=f"{stage.name} [{row}]")


def _jobs_of(keys: Iterable[StageKey], of_stage: dict[StageKey, list[JobId]]) -> list[JobId]:
    return list(dict.fromkeys(job for key in keys for job in of_stage[key]))


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
        turns=definition.concurrency.limit if definition.concurrency is not None else 1,
        cancel_running=definition.concurrency is not None and definition.concurrency.cancel_running,
        secrets=definition.secrets,
    )
