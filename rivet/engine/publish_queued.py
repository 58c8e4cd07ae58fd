"""Publish queued jobs again, on evidence that the broker does not have them."""

from collections.abc import Collection, Mapping
from typing import Protocol

from rivet.engine.ports import Queued, Store

BATCH = 500


class Dispatch(Protocol):
    """The broker, as far as upkeep needs it."""

    def generation(self) -> str:
        """Another one after the broker was flushed, replaced or restarted. Raises Unavailable."""

    def publish(self, queued: Queued) -> None: ...
    def waiting(self, queue: str, runners: Collection[str]) -> int:
        """Messages in a Redis list, and those that `runners` took from it and have not acknowledged."""


def publish_queued(
    before: Mapping[str, int], *, store: Store, dispatch: Dispatch
) -> Mapping[str, int]:
    """One look of upkeep. Publishes what was never published to this generation of the broker, and every
    job of a queue that had too few messages in the look before and has too few now.

    `before` is what the look before returned: how many messages each short queue had. What a runner that is
    gone had taken is nobody's: it counts for nothing until that runner is there again.
    """
    generation = dispatch.generation()
    with store.begin() as tx:
        unpublished = tx.outbox.unpublished(generation, BATCH)
        counts = tx.jobs.queued_counts()
        living = tx.runners.living()
    for queued in unpublished:
        dispatch.publish(queued)
    if unpublished:
        with store.begin() as tx:
            tx.outbox.mark(unpublished, generation)
    short: dict[str, int] = {}
    for queue, jobs in counts.items():
        waiting = dispatch.waiting(queue, living)
        if waiting < jobs:
            short[queue] = waiting
            if queue in before:
                _publish_all(queue, store, dispatch)
    return short


def _publish_all(queue: str, store: Store, dispatch: Dispatch) -> None:
    """Doubles are harmless: the claim lets only one through."""
    with store.begin() as tx:
        missing = tx.outbox.of_queue(queue, BATCH, due=True)
    for queued in missing:
        dispatch.publish(queued)
