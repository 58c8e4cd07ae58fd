"""How fast something grows, and when there is no room for it any more, from samples of its size."""

from collections.abc import Sequence
from datetime import datetime, timedelta

LEAST = timedelta(hours=2)
"""Samples that are closer together than this, all of them, say nothing."""
DAY_S = 86400.0

Sample = tuple[datetime, int]


def bytes_a_day(samples: Sequence[Sample]) -> float | None:
    """The slope of the line that lies nearest to the samples; None where they say too little."""
    if len(samples) < 2 or max(at for at, _ in samples) - min(at for at, _ in samples) < LEAST:
        return None
    days = [at.timestamp() / DAY_S for at, _ in samples]
    middle, mean = sum(days) / len(days), sum(size for _, size in samples) / len(samples)
    spread = sum((day - middle) ** 2 for day in days)
    moved = sum((day - middle) * (size - mean) for day, (_, size) in zip(days, samples, strict=True))
    return moved / spread


def full_at(now: datetime, free_bytes: int, grows_by: float | None) -> datetime | None:
    """When so many bytes are used up at this rate; None where it does not grow, or not within 100 years."""
    if grows_by is None or grows_by <= 0 or free_bytes / grows_by > 36500:
        return None
    return now + timedelta(days=free_bytes / grows_by)
