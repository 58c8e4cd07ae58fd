"""Find the cache that a job asks for: its key exactly, else the newest that begins with a fallback."""

from collections.abc import Sequence

from rivet.domain.cache import MOST_FALLBACKS, Cache, checked_key, looks
from rivet.domain.errors import InvalidInput
from rivet.domain.ids import Epoch, JobId, SessionId
from rivet.engine.held_job import held_job
from rivet.engine.keep_cache import shelf_of
from rivet.engine.ports import Store


def find_cache(
    job: JobId,
    epoch: Epoch,
    session: SessionId,
    key: str,
    fallback: Sequence[str],
    *,
    store: Store,
) -> Cache | None:
    """Of the run's own branch before the default branch's; None if there is none.

    Raises Fenced, InvalidInput.
    """
    checked_key(key)
    if len(fallback) > MOST_FALLBACKS:
        raise InvalidInput(f"fallback: expected at most {MOST_FALLBACKS} keys, given {len(fallback)}")
    prefixes = [checked_key(one, "fallback") for one in fallback]
    with store.begin() as tx:
        _, run = held_job(job, epoch, session, tx)
        found = (tx.caches.find(look) for look in looks(shelf_of(run), key, prefixes))
        return next((cache for cache in found if cache is not None), None)


def has_cache(job: JobId, epoch: Epoch, session: SessionId, key: str, *, store: Store) -> bool:
    """Would keeping it change nothing? Raises Fenced."""
    with store.begin() as tx:
        _, run = held_job(job, epoch, session, tx)
        return tx.caches.has(shelf_of(run), checked_key(key))
