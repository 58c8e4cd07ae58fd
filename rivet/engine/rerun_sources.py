"""What a rerun goes on from: workspaces and kept files, where each is, until when, and what is gone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rivet.domain.ids import StageKey
from rivet.domain.job import Job, Origin
from rivet.domain.run import Run
from rivet.domain.stage import Stage
from rivet.domain.states import FINISHED_RUN, StageStatus
from rivet.engine.draft_rerun import Draft, Ended
from rivet.engine.drop_unused import KEPT_S
from rivet.engine.hand_on import givers_of, is_kept_for_others
from rivet.engine.place_job import source_of
from rivet.engine.ports import Tx
from rivet.engine.where_kept import on_runner

WORKSPACE, FILES, FOLDER = "workspace", "files", "folder"
_KEEPS = frozenset({StageStatus.PASSED, StageStatus.WARNED})


@dataclass(frozen=True, slots=True)
class Source:
    """`what` is a `workspace` or kept `files`, `stage` who found, left or kept it, and `needed_by` who begins
    with it; or the `folder` that the run was started with.

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
        elif source is None and ended.run.folder is not None:
            found = [_folder(ended.run, begins, tx)]
        if job.origin is None:
            found += _files(job, source, begins, draft, ended, tx)
        for one in found:
            if (one.what, one.stage) not in told and one.where != "":
                told.add((one.what, one.stage))
                yield one if not job.is_last or one.gone is None else _not_needed(one)


def _folder(run: Run, begins: StageKey, tx: Tx) -> Source:
    is_there = run.folder is None or tx.folders.get(run.project_id, run.folder) is not None
    return Source(FOLDER, begins, begins, None, None, None if is_there else "it is not stored any more")


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
    kept = on_runner(origin, ended.left, tx)
    return Source(WORKSPACE, stage, begins, kept.runner, kept.until, kept.gone)


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
