"""Delete runs that ended longer ago than they are to stay, with everything that is theirs."""

from datetime import datetime

from rivet.engine.ports import Store

BATCH = 200


def drop_old_runs(keep_days: int, *, store: Store, now: datetime | None = None) -> int:
    """How many runs were deleted. Raises Unavailable.

    A pipeline may say less, in days or as a number of runs. What goes on stays, and of each pipeline the last
    run that passed. What its artifacts consist of goes with all else that nothing refers to.
    """
    deleted, found = 0, BATCH
    while found == BATCH:
        with store.begin() as tx:
            runs = tx.expiry.old_runs(now or tx.now(), keep_days, BATCH)
            tx.expiry.delete_runs(runs)
        found = len(runs)
        deleted += found
    return deleted
