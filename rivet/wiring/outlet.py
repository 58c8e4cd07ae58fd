"""What goes out after a commit: jobs to the broker, entries to those who watch, cancellations to runners.

Nothing here can undo the commit, and nothing that is lost here stays lost: upkeep publishes again, watchers
read the database, and the lease's answer says that a job was cancelled.
"""

import logging
from collections.abc import Callable

import redis

from rivet.dispatch import Dispatch
from rivet.domain.errors import Unavailable
from rivet.domain.ids import RunId
from rivet.engine.admit_runs import admit_runs
from rivet.engine.ports import Committed, Store
from rivet.journal.tail import TailPublisher

_log = logging.getLogger(__name__)


class Outlet:
    """Callable as a store's `on_commit`; `store` is set once it exists, to mark what was published.

    `expand` expands the matrices that a run has reached.
    """

    def __init__(self, dispatch: Dispatch, tail: TailPublisher) -> None:
        self._dispatch, self._tail = dispatch, tail
        self.store: Store | None = None
        self.expand: Callable[[RunId], object] | None = None

    def __call__(self, committed: Committed) -> None:
        try:
            for job, stage in committed.cancelled:
                self._dispatch.tell_cancelled(job, stage)
            if committed.queued:
                self._publish(committed)
            if committed.entries:
                self._tail.publish(committed.entries)
            for run in dict.fromkeys(committed.reached):
                if self.expand is not None:
                    self.expand(run)
            for project, turn in committed.turns:
                if self.store is not None:
                    admit_runs(project, turn, store=self.store)
        except (Unavailable, redis.RedisError) as error:
            _log.warning("Redis did not take what was committed; upkeep will see to it: %s", error)

    def _publish(self, committed: Committed) -> None:
        for queued in committed.queued:
            self._dispatch.publish(queued)
        if self.store is not None:
            generation = self._dispatch.generation()
            with self.store.begin() as tx:
                for queued in committed.queued:
                    tx.outbox.mark(queued, generation)
