"""What was kept and is so no longer: told with its date, never as if it had been empty."""

from datetime import datetime

from rivet.domain.errors import Expired


def refuse_expired_log(at: datetime | None) -> None:
    """Raises Expired where the records of a run were dropped `at` that time."""
    if at is not None:
        raise Expired(
            f"the log of this run expired on {at:%Y-%m-%d}; RIVET_KEEP_LOGS_DAYS says how long logs are kept",
            expired_at=at.isoformat(),
        )
