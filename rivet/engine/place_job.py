"""Place a job: which Redis list it is to be published to, so that it finds the workspace it starts from."""

from collections.abc import Sequence

from rivet.domain.artifact import Contents
from rivet.domain.job import Job, Origin
from rivet.domain.runner import own_queue_of, shared_queue_of
from rivet.domain.stage import Stage
from rivet.domain.states import FINISHED_STAGE, RunnerStatus
from rivet.engine.ports import Tx

LIVES = frozenset({RunnerStatus.ONLINE, RunnerStatus.DRAINING})


def place_job(job: Job, jobs: Sequence[Job], tx: Tx) -> str | None:
    """The queue of all runners that serve it, where any can have the workspace that it starts from; else the
    own one of the runner that has it.

    None where that runner is gone, and the workspace with it. `finally` begins even so, wherever it can: it
    then finds an empty workspace. `jobs` are all of the run.
    """
    left, stored = start_of(job, jobs, tx)
    if left is None or left.runner is None or left.is_empty or stored is not None:
        return shared_queue_of(job.queue)
    runner = tx.runners.get(left.runner)
    if runner is not None and runner.status in LIVES:
        return own_queue_of(left.runner)
    return shared_queue_of(job.queue) if job.is_last else None


def start_of(job: Job, jobs: Sequence[Job], tx: Tx) -> tuple[Origin | None, Contents | None]:
    """The workspace that a job starts from, and what is stored of it; None: the one the run began with."""
    if job.origin is not None:
        return job.origin, None
    source = source_of(job, jobs)
    return (None, None) if source is None else (source.left, tx.snapshots.get(source))


def source_of(job: Job, jobs: Sequence[Job]) -> Job | None:
    """The job whose workspace it goes on from; None where that is the one that the run began with.

    What never ran, as a stage that was skipped or only approved, hands on what it would have started from.
    """
    by_id = {each.id: each for each in jobs}
    source = by_id.get(job.starts_from) if job.starts_from is not None else None
    while source is not None and source.left is None:
        source = by_id.get(source.starts_from) if source.starts_from is not None else None
    return source


def is_shared(source: Job, jobs: Sequence[Job]) -> bool:
    """Whether more than one job may start from what this one left: also those of other reruns."""
    sources = [source_of(each, jobs) for each in jobs]
    followers = sum(found is not None and found.id == source.id for found in sources)
    return followers > 1 or source.origin is not None or any(each.is_last for each in jobs)


def has_come_on(job: Job, stages: Sequence[Stage]) -> bool:
    """Whether a stage of the job has ended since it was begun: then its runner alone has the workspace.

    `stages` are all of the job. Those before the one that it begins with ended earlier, or elsewhere.
    """
    begins_with = None if job.origin is None else job.origin.stage
    first = next((stage.ordinal for stage in stages if stage.key == begins_with), 0)
    return any(stage.status in FINISHED_STAGE and stage.ordinal >= first for stage in stages)
