"""Let go of what artifacts hold when they are old, or when a project has too much: their names stay."""

from datetime import datetime, timedelta

from rivet.engine.ports import Store

BATCH = 500


def expire_artifacts(
    keep_days: int, most_bytes: int, *, store: Store, now: datetime | None = None
) -> int:
    """How many expired. Raises Unavailable.

    Their bytes go with all else that nothing refers to. Those of a run that goes on stay, and by age those of
    the last run of a pipeline that passed; `most_bytes` is of each project, the oldest go first.
    """
    expired, found = 0, BATCH
    while found == BATCH:
        with store.begin() as tx:
            present = now or tx.now()
            found = tx.expiry.expire_artifacts(present, present - timedelta(days=keep_days), BATCH)
        expired += found
    found = BATCH
    while found == BATCH:
        with store.begin() as tx:
            found = tx.expiry.expire_artifacts_over(now or tx.now(), most_bytes, BATCH)
        expired += found
    return expired
