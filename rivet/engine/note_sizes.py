"""Note how much everything takes, so that it can be told how fast it grows."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from rivet.engine.ports import Store

KEPT_DAYS = 40
EVERY_S = 3600.0


def note_sizes(others: Mapping[str, int], *, store: Store, now: datetime | None = None) -> None:
    """`others` are sizes that the database does not know, in bytes. Noted once an hour at most.

    Raises Unavailable.
    """
    with store.begin() as tx:
        present = now or tx.now()
        tx.sizes.add_up()
        tx.sizes.forget(present - timedelta(days=KEPT_DAYS))
        if not tx.sizes.has_since(present - timedelta(seconds=EVERY_S * 0.9)):
            tx.sizes.note(present, {**tx.sizes.measured(), **others})
