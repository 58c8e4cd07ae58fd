"""What the verbs need of the world to drop what is over its time: days of records, and rows by age."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol
from uuid import UUID

from rivet.domain.ids import ProjectId, RunId


@dataclass(frozen=True, slots=True)
class Day:
    """A partition of the records: those of runs with ids from `first` on, up to and without `after`."""

    name: str
    first: UUID
    after: UUID


class RecordDays(Protocol):
    """Records lie in one partition a day of their run's start."""

    def all(self) -> Sequence[Day]:
        """Those that there are, but for the one that takes what no day covers."""

    def open(self, day: date) -> bool:
        """Make the partition of a day; False where one covers it already. Raises Unavailable when it would
        have to wait for long."""

    def drop(self, day: Day, ended_before: datetime, now: datetime) -> bool:
        """Drop it and note that, if every run of it has ended before that time. Raises Unavailable when it
        would have to wait for long."""

    def sweep(self, limit: int) -> int:
        """Delete records that came after their day was dropped, or their run deleted; how many."""

    def forget_notes(self) -> int:
        """Those of days of which no run is left."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a project keeps: an artifact of a run, or a cache (then without a run), and how many bytes it has.

    `at` is by what the newest comes first: when it was made, or used last. `key` is its name in the run, or
    the cache's id.
    """

    project: ProjectId
    at: datetime
    run: RunId | None
    key: str
    size: int


class Expiry(Protocol):
    """Takes what is over its time, at most `limit` at once; each says how many it took, or which."""

    def old_runs(self, now: datetime, keep_days: int, limit: int) -> Sequence[RunId]:
        """Runs that ended longer ago than they stay, locked: by the days given, or by what their pipeline
        says if that is less. Never the last of a pipeline that passed."""

    def delete_runs(self, runs: Sequence[RunId]) -> None:
        """With all that is theirs."""

    def expire_artifacts(self, now: datetime, made_before: datetime, limit: int) -> int:
        """Let go of what is in artifacts that old, of runs that have ended: their names stay.

        Those of the last run of a pipeline that passed stay whole.
        """

    def artifacts_held(self, after: Held | None, limit: int) -> Sequence[Held]:
        """Those that have not expired, the newest first: so many, behind that one."""

    def expire_these_artifacts(self, now: datetime, these: Sequence[Held]) -> int:
        """Those of them whose runs have ended."""

    def drop_caches(self, used_before: datetime, limit: int) -> int: ...
    def caches_held(self, after: Held | None, limit: int) -> Sequence[Held]:
        """What was used last comes first: so many, behind that one."""

    def drop_these_caches(self, these: Sequence[Held]) -> int:
        """Unless they were used meanwhile."""

    def drop_folders(self, used_before: datetime, limit: int) -> int:
        """Those that no run needs which goes on."""

    def drop_versions(self, made_before: datetime, limit: int) -> int:
        """Unpublished ones of which no run is left."""

    def forget_runners(self, seen_before: datetime, limit: int) -> Sequence[str]:
        """Offline or lost, and nothing held; their names."""


class Sizes(Protocol):
    """How much everything takes, in bytes, by name."""

    def measured(self) -> Mapping[str, int]:
        """What the database knows of, now."""

    def add_up(self) -> None:
        """Make one of all changes that were noted of what pieces take."""

    def has_since(self, since: datetime) -> bool:
        """Was anything noted since then?"""

    def note(self, now: datetime, sizes: Mapping[str, int]) -> None: ...
    def forget(self, before: datetime) -> int: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where the body of the record at `pos` is in its run's blob: `size` bytes from `at` on."""

    pos: int
    at: int
    size: int


class MovedLogs(Protocol):
    """Logs of ended runs that were moved out of the database."""

    def to_move(
        self, ended_since: datetime, ended_before: datetime, limit: int
    ) -> Sequence[tuple[RunId, ProjectId, datetime]]:
        """Runs that ended in between and were not looked at yet, with their end, oldest first."""

    def bodies(self, run: RunId, after: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """Of chunks of the run's log that are in the database, by position."""

    def note(self, run: RunId, blob: UUID | None, places: Sequence[Place]) -> bool:
        """The bodies at these places are in that blob, and in the database no more; None: there were none.

        False where the run or one of the records is gone: then the transaction is not to commit.
        """
