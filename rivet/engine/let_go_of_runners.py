"""Let go of runners that are gone: end what only they could have gone on with, and delete their queues."""

from typing import Protocol

from rivet.domain.runner import own_queue_of
from rivet.domain.states import JobStatus, Reason
from rivet.engine.lose_job import end_unbegun
from rivet.engine.ports import Queued, Store

BATCH = 500


class Queues(Protocol):
    """The broker, as far as this verb needs it."""

    def delete_queue(self, queue: str) -> None:
        """Delete a Redis list and all that waits in it. Raises Unavailable."""


def let_go_of_runners(lease_s: float, *, store: Store, queues: Queues) -> int:
    """How many jobs were ended: begun again on a runner for the workspace it has, and then it went as well.

    A runner is gone that left or was lost, was not heard of for a lease, and holds no job any more.
    """
    with store.begin() as tx:
        gone = tx.runners.gone(lease_s)
    ended = 0
    for name in gone:
        with store.begin() as tx:
            stranded = tx.outbox.of_queue(own_queue_of(name), BATCH)
        ended += sum(_end(queued, name, lease_s, store) for queued in stranded)
        queues.delete_queue(own_queue_of(name))
    return ended


def _end(queued: Queued, runner: str, lease_s: float, store: Store) -> bool:
    with store.begin() as tx:
        job = tx.jobs.lock_with_run(queued.job_id)
        if job is None or job.status is not JobStatus.QUEUED or job.epoch != queued.epoch:
            return False
        if runner not in tx.runners.gone(lease_s):
            return False
        tx.runs.lock(job.run_id)
        end_unbegun(job, JobStatus.ERRORED, Reason.WORKSPACE_LOST, tx)
        return True
