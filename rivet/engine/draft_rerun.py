"""Draft a rerun: its jobs and stages, of which some stand as they ended, and where the others begin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from rivet.domain.errors import Conflict
from rivet.domain.ids import NO_EPOCH, JobId, RunId, StageId, StageKey
from rivet.domain.job import Job
from rivet.domain.rerun import Form, Scope, scope_of
from rivet.domain.run import Run
from rivet.domain.stage import Stage
from rivet.domain.states import JobStatus, Reason, StageStatus
from rivet.engine.left_workspaces import LeftWorkspaces
from rivet.engine.plan_pipeline import Planned
from rivet.engine.ports import Ids


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended, with its jobs and stages in order, and what is known of their workspaces."""

    run: Run
    jobs: Sequence[Job]
    stages: Sequence[Stage]
    left: LeftWorkspaces

    @property
    def name(self) -> str:
        return f"{self.run.pipeline}#{self.run.number}"


@dataclass(frozen=True, slots=True)
class Draft:
    """A rerun's jobs and stages, ready to be added. `stands_for` has the ended job of each that stands."""

    jobs: Sequence[Job]
    stages: Sequence[Stage]
    stands_for: Mapping[JobId, Job]

    def stands(self, job: Job) -> bool:
        return job.id in self.stands_for

    @property
    def kept(self) -> Sequence[Stage]:
        """The stages that stand."""
        return [stage for stage in self.stages if stage.from_run is not None]


def draft_rerun(
    ended: Ended,
    form: Form,
    wanted: str | None,
    run: RunId,
    ids: Ids,
    *,
    now: datetime,
    planned: Planned | None = None,
) -> Draft:
    """With the jobs and stages that the run had, or those `planned` out of another definition.

    Raises NotFound and Conflict, as `scope_of` does, and Conflict where what would stand is not there.
    """
    basis = _same(ended) if planned is None else _another(ended, planned)
    scope = scope_of(form, wanted, basis.jobs, basis.stages, ended.name)
    _refuse_changed(scope, basis, ended)
    new_ids = {job.id: job.id if planned is not None else JobId(ids.uuid()) for job in basis.jobs}
    drafting = _Drafting(ended, scope, basis, run, new_ids, now)
    jobs = [drafting.job(job) for job in basis.jobs]
    stages = [drafting.stage(stage, StageId(ids.uuid())) for stage in basis.stages]
    stands_for = {
        new_ids[job.id]: basis.ended_job[job.id] for job in basis.jobs if job.id not in scope.jobs
    }
    return Draft(jobs, stages, stands_for)


@dataclass(frozen=True, slots=True)
class _Basis:
    """Jobs and stages of the rerun as if they had ended as those of the run did that they are the same as."""

    jobs: Sequence[Job]
    stages: Sequence[Stage]
    ended_job: Mapping[JobId, Job]
    ended_stage: Mapping[StageKey, Stage]


def _same(ended: Ended) -> _Basis:
    by_id = {job.id: job for job in ended.jobs}
    return _Basis(ended.jobs, ended.stages, by_id, {stage.key: stage for stage in ended.stages})


def _another(ended: Ended, planned: Planned) -> _Basis:
    """A job is the same as one that ended where it has the same stages, by their keys."""
    ended_stage = {stage.key: stage for stage in ended.stages}
    by_id = {job.id: job for job in ended.jobs}
    same: dict[JobId, Job] = {}
    for job in planned.jobs:
        keys = _keys(job, planned.stages)
        first = ended_stage.get(keys[0])
        if first is not None:
            same[job.id] = by_id[first.job_id]
    whole = {
        job.id for job in planned.jobs
        if job.id in same and _keys(job, planned.stages) == _keys(same[job.id], ended.stages)
    }  # fmt: skip
    jobs = [
        replace(job, status=same[job.id].status if job.id in whole else JobStatus.PENDING)
        for job in planned.jobs
    ]
    stages = []
    for stage in planned.stages:
        was = ended_stage.get(stage.key)
        stages.append(replace(stage, status=StageStatus.PENDING if was is None else was.status))
    return _Basis(jobs, stages, same, ended_stage)


def _keys(job: Job, stages: Sequence[Stage]) -> list[StageKey]:
    return [stage.key for stage in stages if stage.job_id == job.id]


def _refuse_changed(scope: Scope, basis: _Basis, ended: Ended) -> None:
    """Stages that would stand before one that is begun with must have stood before it in its job."""
    for job, first in scope.middle.items():
        was = basis.ended_job.get(job)
        keys = [stage.key for stage in basis.stages if stage.job_id == job]
        before = keys[: keys.index(first)]
        known = [] if was is None else _keys(was, ended.stages)
        if known[: len(before)] != before or first not in known:
            raise Conflict(
                f'stage "{first}" cannot be begun with: in this file it comes after {", ".join(before)}, '
                f'and in {ended.name} after other stages; begin with "{before[0]}"'
            )


@dataclass(frozen=True, slots=True)
class _Drafting:
    ended: Ended
    scope: Scope
    basis: _Basis
    run: RunId
    new_ids: Mapping[JobId, JobId]
    now: datetime

    def job(self, job: Job) -> Job:
        """Anew, begun in its middle, or standing as it ended."""
        made = Job(
            id=self.new_ids[job.id],
            run_id=self.run,
            ordinal=job.ordinal,
            queue=job.queue,
            status=JobStatus.PENDING,
            reason=None,
            epoch=NO_EPOCH,
            on_lost=job.on_lost,
            waits_for=tuple(self.new_ids[each] for each in job.waits_for),
            starts_from=None if job.starts_from is None else self.new_ids[job.starts_from],
            group=job.group,
            is_last=job.is_last,
        )
        if job.id not in self.scope.jobs:
            was = self.basis.ended_job[job.id]
            origin = self.ended.left.by(was)
            return replace(made, status=was.status, reason=Reason.FROM_RUN, origin=origin, ended_at=self.now)
        first = self.scope.middle.get(job.id)
        if first is None:
            return made
        found = self.ended.left.found_by(self.basis.ended_stage[first], self.basis.ended_job[job.id])
        return replace(made, origin=found)

    def stage(self, stage: Stage, id: StageId) -> Stage:
        made = Stage(
            id=id,
            run_id=self.run,
            job_id=self.new_ids[stage.job_id],
            key=stage.key,
            name=stage.name,
            ordinal=stage.ordinal,
            status=StageStatus.PENDING,
            reason=None,
            env=stage.env,
            timeout_s=stage.timeout_s,
            spec=stage.spec,
        )
        if not self.scope.stands(stage, self.basis.stages):
            return made
        was = self.basis.ended_stage[stage.key]
        return replace(
            made,
            status=was.status,
            reason=Reason.FROM_RUN,
            from_run=was.from_run or self.ended.run.id,
            approved_by=was.approved_by,
        )
