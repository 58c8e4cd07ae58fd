"""Forget runners that have not been heard of for long."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from rivet.engine.ports import Store

BATCH = 500


def forget_runners(keep_days: int, *, store: Store, now: datetime | None = None) -> Sequence[str]:
    """The names of those that were forgotten; their keys in Redis are to go as well.

    One that comes back registers anew. Raises Unavailable.
    """
    with store.begin() as tx:
        return tx.expiry.forget_runners((now or tx.now()) - timedelta(days=keep_days), BATCH)
