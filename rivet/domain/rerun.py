"""Which part of a run is run again, and which stands: the forms of a rerun, as sets of its jobs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rivet.domain.errors import Conflict, NotFound
from rivet.domain.ids import JobId, StageKey
from rivet.domain.job import Job
from rivet.domain.stage import Stage
from rivet.domain.states import JobStatus, StageStatus
from rivet.domain.wording import did_you_mean

_PASSED = frozenset({StageStatus.PASSED, StageStatus.WARNED, StageStatus.SKIPPED})


class Form(StrEnum):
    """`whole`: all of it. `failed`: the jobs that did not pass, and all that builds on them.

    `from`: a stage, all that comes after it or needs it, and whatever else did not pass. `stage`: a stage and
    what builds on it, and nothing else: what failed beside it stands as it ended.
    """

    WHOLE = "whole"
    FAILED = "failed"
    FROM = "from"
    STAGE = "stage"


@dataclass(frozen=True, slots=True)
class Scope:
    """`jobs` are run again; those in `middle` from that stage on, so that the stages before it stand."""

    jobs: frozenset[JobId]
    middle: Mapping[JobId, StageKey]

    def stands(self, stage: Stage, stages: Iterable[Stage]) -> bool:
        """Whether a stage stands as it ended; `stages` are all of its run."""
        if stage.job_id not in self.jobs:
            return True
        first = self.middle.get(stage.job_id)
        return first is not None and any(
            each.job_id == stage.job_id and each.key == first and stage.ordinal < each.ordinal
            for each in stages
        )


def scope_of(
    form: Form, wanted: str | None, jobs: Sequence[Job], stages: Sequence[Stage], name: str
) -> Scope:
    """`jobs` and `stages` as they ended, of the run that is called `name`; `wanted` is a stage's key, or that
    of a group.

    Raises NotFound where there is no such stage, Conflict where there is nothing to do, or where what comes
    before the stage did not pass.
    """
    if form is Form.WHOLE:
        return Scope(frozenset(job.id for job in jobs), {})
    last = {job.id for job in jobs if job.is_last}
    broken = {job.id for job in jobs if job.status is not JobStatus.PASSED}
    if form is Form.FAILED:
        if not broken:
            raise Conflict(f"{name} passed: nothing of it failed; rerun all of it, or from one of its stages")
        return Scope(frozenset(and_what_builds_on(broken, jobs) | last), {})
    chosen = _chosen(wanted or "", stages, name)
    begun = {stage.job_id for stage in chosen}
    _refuse_blocked(chosen, jobs, stages, name)
    if form is Form.FROM and not begun <= last:
        begun |= broken
    begun |= _stopped_with(begun, jobs)
    firsts = {stage.job_id: stage.key for stage in reversed(stages)}
    middle = {stage.job_id: stage.key for stage in chosen if firsts[stage.job_id] != stage.key}
    return Scope(frozenset(and_what_builds_on(begun, jobs) | last), middle)


def _chosen(wanted: str, stages: Sequence[Stage], name: str) -> list[Stage]:
    """The stage of that key, or all members of the group of that key."""
    found = [stage for stage in stages if wanted in (stage.key, stage.spec.group)]
    if not found:
        known = dict.fromkeys(key for stage in stages for key in (stage.spec.group, stage.key) if key)
        raise NotFound(f'{name} has no stage "{wanted[:100]}"{did_you_mean(wanted, known)}')
    return found


def _refuse_blocked(
    chosen: Sequence[Stage], jobs: Sequence[Job], stages: Sequence[Stage], name: str
) -> None:
    """What comes before a stage that is begun with must have passed: it stands, and others build on it."""
    by_id = {job.id: job for job in jobs}
    for stage in chosen:
        job = by_id[stage.job_id]
        blocking = {each for each in job.waits_for if by_id[each].status is not JobStatus.PASSED}
        for before in stages:
            mine = before.job_id == job.id and before.ordinal < stage.ordinal
            if before.status not in _PASSED and (mine or before.job_id in blocking):
                raise Conflict(
                    f'stage "{stage.key}" of {name} cannot be begun with: "{before.key}" before it is '
                    f'{before.status}, not passed; begin with "{before.key}", or rerun what failed'
                )


def _stopped_with(begun: Iterable[JobId], jobs: Sequence[Job]) -> set[JobId]:
    """Of a group that fails as one, the members that did not pass: while they stand, no other may go on."""
    chosen = set(begun)
    groups = {
        job.group.key for job in jobs if job.id in chosen and job.group is not None and job.group.fail_fast
    }
    return {
        job.id for job in jobs
        if job.group is not None and job.group.key in groups and job.status is not JobStatus.PASSED
    }  # fmt: skip


def and_what_builds_on(begun: Iterable[JobId], jobs: Sequence[Job]) -> set[JobId]:
    """Those jobs, and all that wait for them or go on from their workspaces, however far behind."""
    found = set(begun)
    while True:
        more = {
            job.id for job in jobs if job.id not in found and (found & {*job.waits_for, job.starts_from})
        }
        if not more:
            return found
        found |= more
