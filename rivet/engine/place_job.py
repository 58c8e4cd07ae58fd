"""Place a job: which Redis list it is to be published to, so that it finds the workspace it starts from."""

from collections.abc import Sequence

from rivet.domain.job import Job
from rivet.domain.runner import own_queue_of, shared_queue_of
from rivet.domain.states import RunnerStatus
from rivet.engine.ports import Tx

_LIVES = frozenset({RunnerStatus.ONLINE, RunnerStatus.DRAINING})


def place_job(job: Job, jobs: Sequence[Job], tx: Tx) -> str | None:
    """The queue of all runners that serve it, where any can have the workspace that it starts from; else the
    own one of the runner that has it.

    None where that runner is gone, and the workspace with it. `finally` begins even so, wherever it can: it
    then finds an empty workspace. `jobs` are all of the run.
    """
    source = source_of(job, jobs)
    if source is None or source.runner is None or tx.snapshots.get(source) is not None:
        return shared_queue_of(job.queue)
    runner = tx.runners.get(source.runner)
    if runner is not None and runner.status in _LIVES:
        return own_queue_of(source.runner)
    return shared_queue_of(job.queue) if job.is_last else None


def source_of(job: Job, jobs: Sequence[Job]) -> Job | None:
    """The job whose workspace it goes on from; None where that is the one that the run began with.

    What never ran, as a stage that was skipped or only approved, hands on what it would have started from.
    """
    by_id = {each.id: each for each in jobs}
    source = by_id.get(job.starts_from) if job.starts_from is not None else None
    while source is not None and source.runner is None:
        source = by_id.get(source.starts_from) if source.starts_from is not None else None
    return source


def is_shared(source: Job, jobs: Sequence[Job]) -> bool:
    """Whether more than one job may start from what this one left."""
    sources = [source_of(each, jobs) for each in jobs]
    followers = sum(found is not None and found.id == source.id for found in sources)
    return followers > 1 or any(each.is_last for each in jobs)
