"""What a rerun goes on from: workspaces and kept files, where each is, until when, and what is gone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rivet.domain.ids import StageKey
from rivet.domain.job import Job, Origin
from rivet.domain.stage import Stage
from rivet.domain.states import FINISHED_RUN, StageStatus
from rivet.engine.draft_rerun import Draft, Ended
from rivet.engine.drop_unused import KEPT_S
from rivet.engine.hand_on import givers_of, is_kept_for_others
from rivet.engine.place_job import LIVES, source_of
from rivet.engine.ports import Tx

WORKSPACE, FILES = "workspace", "files"
_KEEPS = frozenset({StageStatus.PASSED, StageStatus.WARNED})


@dataclass(frozen=True, slots=True)
class Source:
    """`what` is a `workspace` or kept `files`, `stage` who found, left or kept it, and `needed_by` who begins
    with it.

    `where` is a runner's name, or None where the server has it. `until` is when it goes at the latest; with
    `gone`, why it cannot be had. `is_needed`: without it the rerun cannot be.
    """

    what: str
    stage: StageKey
    needed_by: StageKey
    where: str | None
    until: datetime | None
    gone: str | None = None
    is_needed: bool = True


def sources_of(draft: Draft, ended: Ended, tx: Tx) -> Sequence[Source]:
    """All that the jobs which run again go on from and do not make anew; empty workspaces need nobody."""
    return list(_sources(draft, ended, tx))


def _sources(draft: Draft, ended: Ended, tx: Tx) -> Iterator[Source]:
    told: set[tuple[str, StageKey]] = set()
    firsts = {stage.job_id: stage for stage in reversed(draft.stages) if stage.from_run is None}
    last_of = {stage.job_id: stage for stage in draft.stages}
    for job in draft.jobs:
        if draft.stands(job):
            continue
        begins = firsts[job.id].key
        source = source_of(job, draft.jobs)
        found: list[Source] = []
        if job.origin is not None:
            found = [_on_runner(job.origin, begins, begins, ended, tx)]
        elif source is not None and draft.stands(source):
            found = [_left(source, draft.stands_for[source.id], last_of[source.id].key, begins, ended, tx)]
        if job.origin is None:
            found += _files(job, source, begins, draft, ended, tx)
        for one in found:
            if (one.what, one.stage) not in told and one.where != "":
                told.add((one.what, one.stage))
                yield one if not job.is_last or one.gone is None else _not_needed(one)


def _not_needed(source: Source) -> Source:
    """`finally` begins with an empty workspace where the other is gone."""
    return Source(
        source.what, source.stage, source.needed_by, source.where, source.until, source.gone, is_needed=False
    )


def _left(
    source: Job, was: Job, stage: StageKey, begins: StageKey, ended: Ended, tx: Tx
) -> Source:
    """What a job left that stands: on its runner, or stored."""
    left = source.left
    assert left is not None
    stored = tx.snapshots.get(was) is not None
    here = _on_runner(left, stage, begins, ended, tx)
    if stored and here.gone is not None:
        return Source(WORKSPACE, stage, begins, None, _until_stored(ended))
    return here


def _on_runner(origin: Origin, stage: StageKey, begins: StageKey, ended: Ended, tx: Tx) -> Source:
    if origin.is_empty:
        return Source(WORKSPACE, stage, begins, "", None)
    runner = tx.runners.get(origin.runner) if origin.runner is not None else None
    job = tx.jobs.get(origin.job)
    at = None if job is None else job.ended_at
    if runner is None:
        gone = f"the runner {origin.runner or 'that had it'} is not there any more"
    elif not ended.left.is_known(origin) and job is not None and job.run_id == ended.run.id:
        gone = f"the runner {runner.name} did not keep it"
    elif at is None or runner.kept_since is None or at < runner.kept_since:
        gone = f"the runner {runner.name} has let go of it"
    elif runner.status not in LIVES:
        gone = f"the runner {runner.name} that has it is {runner.status}"
    else:
        until = None if runner.kept_s is None else at + timedelta(seconds=runner.kept_s)
        return Source(WORKSPACE, stage, begins, runner.name, until)
    return Source(WORKSPACE, stage, begins, origin.runner, None, gone)


def _files(
    job: Job, source: Job | None, begins: StageKey, draft: Draft, ended: Ended, tx: Tx
) -> list[Source]:
    """What stages that stand have kept for the job."""
    if not any(stage.spec.keep for stage in draft.stages):
        return []
    kept = tx.keeps.of_run(ended.run.id)
    found = []
    for giver in givers_of(job, source, draft.jobs, draft.stages):
        if not _has_kept(giver, draft.stages):
            continue
        gone = None if giver.key in kept else _gone_files(ended)
        found.append(Source(FILES, giver.key, begins, None, _until_stored(ended), gone))
    return found


def _has_kept(giver: Stage, stages: Sequence[Stage]) -> bool:
    stands = giver.from_run is not None and giver.status in _KEEPS
    return stands and bool(giver.spec.keep) and is_kept_for_others(giver, stages)


def _gone_files(ended: Ended) -> str:
    until = _until_stored(ended)
    return "they are not stored any more" if until is None else f"they were stored until {shown_time(until)}"


def _until_stored(ended: Ended) -> datetime | None:
    at = ended.run.ended_at
    return at + timedelta(seconds=KEPT_S) if at is not None and ended.run.status in FINISHED_RUN else None


def shown_time(at: datetime) -> str:
    """For people, in UTC, to the minute."""
    return f"{at:%Y-%m-%d %H:%M} UTC"
