"""How much this system takes, how fast it grows, and when its disk is full."""

import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import redis

from rivet.domain.errors import Unavailable
from rivet.domain.growth import Sample, bytes_a_day, full_at
from rivet.domain.retention import REDIS, RUNNERS
from rivet.redis_link import connect
from rivet.store.records import iso
from rivet.store.sizes import BLOBS
from rivet.wiring.settings import Settings

LOOKED_BACK = timedelta(days=14)
MOST_ENTRIES = 1_000_000
_BLOCK = 512


def other_sizes(settings: Settings) -> dict[str, int]:
    """What the database does not know: Redis, and the folders of runners in this home.

    Raises Unavailable where Redis does not answer.
    """
    try:
        with connect(settings.broker_url) as client:
            told: Any = client.info("memory")
    except redis.RedisError as error:
        raise Unavailable(f"Redis does not tell how much it takes: {error}") from error
    return {REDIS: int(told["used_memory"]), RUNNERS: folder_bytes(settings.home / "runners")}


def folder_bytes(folder: Path, most_entries: int = MOST_ENTRIES) -> int:
    """What its files take on the disk. Links are not followed; what may not be looked into counts nothing.

    At `most_entries` it stops: a number that is too small, rather than a disk that is kept busy.
    """
    total, entries = 0, 0
    waiting = [folder]
    while waiting and entries < most_entries:
        try:
            with os.scandir(waiting.pop()) as found:
                for entry in found:
                    entries += 1
                    total += entry.stat(follow_symlinks=False).st_blocks * _BLOCK
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
        except OSError:
            continue
    return total


def described(
    settings: Settings,
    measured: Mapping[str, int],
    samples: Mapping[str, Sequence[Sample]],
    now: datetime,
) -> dict[str, Any]:
    """Sizes by name with their growth a day, and what that means for the disk of the home.

    What lies on another disk (an external database, a bucket) does not count for that.
    """
    latest = {name: taken[-1][1] for name, taken in samples.items() if taken} | dict(measured)
    on_disk = [name for name in latest if _is_on_disk(name, settings)]
    items = [
        {
            "name": name,
            "bytes": size,
            "bytes_per_day": _whole(bytes_a_day(samples.get(name, ()))),
            "on_disk": name in on_disk,
        }
        for name, size in latest.items()
    ]
    together = _together([samples.get(name, ()) for name in on_disk])
    grows_by = bytes_a_day(together)
    usage = shutil.disk_usage(settings.home)
    full = full_at(now, usage.free, grows_by)
    return {
        "items": items,
        "disk": {
            "path": str(settings.home),
            "total": usage.total,
            "free": usage.free,
            "bytes_per_day": _whole(grows_by),
            "full_at": None if full is None else iso(full),
        },
        "sampled_since": iso(together[0][0]) if together else None,
    }


def _together(samples: Sequence[Sequence[Sample]]) -> list[Sample]:
    """Sums of what was noted at the same time."""
    sums: dict[datetime, int] = {}
    for taken in samples:
        for at, size in taken:
            sums[at] = sums.get(at, 0) + size
    return sorted(sums.items())


def _is_on_disk(name: str, settings: Settings) -> bool:
    home = settings.home
    if name == BLOBS:
        return not settings.artifacts_url and (home / "artifacts").is_dir()
    place = {REDIS: "redis", RUNNERS: "runners"}.get(name, "postgresql")
    return (home / place).is_dir()


def _whole(rate: float | None) -> int | None:
    return None if rate is None else round(rate)
