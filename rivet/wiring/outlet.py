"""What goes out after a commit: jobs to the broker, entries to those who watch, cancellations to runners.

Nothing here can undo the commit, and nothing that is lost here stays lost: upkeep publishes again, watchers
read the database, and the lease's answer says that a job was cancelled.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable

import redis

from rivet.dispatch import Dispatch
from rivet.domain.errors import Unavailable
from rivet.domain.ids import RunId
from rivet.engine.admit_runs import admit_runs
from rivet.engine.ports import Committed, Queued, Store
from rivet.journal.tail import TailPublisher

_log = logging.getLogger(__name__)

MARK_AFTER_S = 0.1
GENERATION_KNOWN_S = 1.0


class Outlet:
    """Callable as a store's `on_commit`; `store` is set once it exists, to mark what was published.

    `expand` expands the matrices that a run has reached.
    """

    def __init__(self, dispatch: Dispatch, tail: TailPublisher) -> None:
        self._dispatch, self._tail = dispatch, tail
        self.store: Store | None = None
        self.expand: Callable[[RunId], object] | None = None
        self._published: queue.SimpleQueue[tuple[Queued, str]] = queue.SimpleQueue()
        self._marker: threading.Thread | None = None
        self._guard = threading.Lock()
        self._generation = ("", 0.0)

    def __call__(self, committed: Committed) -> None:
        try:
            for job, epoch, stage in committed.cancelled:
                self._dispatch.tell_cancelled(job, epoch, stage)
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
        # From before it is published: a broker that is flushed in between has another one afterwards.
        generation = self._known_generation()
        for queued in committed.queued:
            self._dispatch.publish(queued)
            self._published.put((queued, generation))
        with self._guard:
            if self._marker is None:
                self._marker = threading.Thread(target=self._mark, name="outbox", daemon=True)
                self._marker.start()

    def _known_generation(self) -> str:
        """One that is a little older than the broker's has its jobs published again: harmless, and rare."""
        generation, until = self._generation
        if time.monotonic() >= until:
            generation = self._dispatch.generation()
            self._generation = generation, time.monotonic() + GENERATION_KNOWN_S
        return generation

    def _mark(self) -> None:
        """Many at once, and not while somebody waits: most jobs have left the queue by then.

        What is not marked when this process ends is published again, which changes nothing.
        """
        while True:
            marks = [self._published.get()]
            time.sleep(MARK_AFTER_S)
            while not self._published.empty():
                marks.append(self._published.get())
            by_generation: dict[str, list[Queued]] = {}
            for queued, generation in marks:
                by_generation.setdefault(generation, []).append(queued)
            try:
                if self.store is not None:
                    with self.store.begin() as tx:
                        for generation, published in by_generation.items():
                            tx.outbox.mark(published, generation)
            except Exception:  # noqa: BLE001 - a thread that ended would leave all later ones unmarked
                _log.warning("what was published could not be marked so", exc_info=True)
