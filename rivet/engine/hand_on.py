"""What a job hands on to those that go on from it: its workspace, and files that its stages keep."""

from collections.abc import Iterator, Sequence

from rivet.domain.artifact import Contents
from rivet.domain.job import Job
from rivet.domain.order import HandsOn
from rivet.domain.stage import Stage
from rivet.engine.ports import Tx


def what_it_hands_on(job: Job, jobs: Sequence[Job], stages: Sequence[Stage], tx: Tx) -> HandsOn:
    """Whether its workspace stays on its runner, and whether it is stored for others as well.

    Stored where an approval follows, which may take days; and where a group or another queue follows, unless
    the runner that has the job is the only one that serves it. `jobs` and `stages` are all of the run.
    """
    followers = list(_followers(job, jobs, stages))
    if not followers:
        return HandsOn.NOTHING
    firsts = {stage.job_id: stage for stage in reversed(stages)}
    for each in followers:
        if firsts[each.id].spec.approval is not None:
            return HandsOn.STORED
        may_move = not each.is_last and (each.group is not None or each.queue != job.queue)
        if may_move and tx.runners.serving(each.queue) != [job.runner]:
            return HandsOn.STORED
    return HandsOn.LOCAL


def _followers(job: Job, jobs: Sequence[Job], stages: Sequence[Stage]) -> Iterator[Job]:
    """Those that may start from what this job leaves; of a job that never runs, whoever goes on from it."""
    runs = {stage.job_id for stage in stages if stage.spec.has_script}
    for each in jobs:
        if each.starts_from == job.id:
            yield each
            if each.id not in runs:
                yield from _followers(each, jobs, stages)


def is_kept_for_others(stage: Stage, stages: Sequence[Stage]) -> bool:
    """Whether what the stage keeps can be of use: it is of a group, or others need it."""
    return stage.spec.group is not None or any(stage.key in (each.spec.needs or ()) for each in stages)


def what_it_brings(
    job: Job, source: Job | None, jobs: Sequence[Job], stages: Sequence[Stage], tx: Tx
) -> tuple[Contents, ...]:
    """What stages before it kept for the job, in their order.

    Of those that its stage needs; else of all that came before it, without what came before `source`: that is
    in the workspace which it left. All of it is in one that it has from the middle of another job.
    """
    if job.origin is not None or not any(stage.spec.keep for stage in stages):
        return ()
    kept = tx.keeps.of_run(job.run_id)
    return tuple(kept[stage.key] for stage in givers_of(job, source, jobs, stages) if stage.key in kept)


def givers_of(
    job: Job, source: Job | None, jobs: Sequence[Job], stages: Sequence[Stage]
) -> Sequence[Stage]:
    """The stages whose kept files are laid over the workspace that the job starts from, in their order."""
    first = next(stage for stage in stages if stage.job_id == job.id)
    if first.spec.needs is not None:
        needed = set(first.spec.needs)
        return [stage for stage in stages if {stage.key, stage.spec.group} & needed]
    before = {each.id for each in jobs if each.id != job.id} if job.is_last else set(job.waits_for)
    if source is not None:
        before -= {source.id, *source.waits_for}
    return [stage for stage in stages if stage.job_id in before]
