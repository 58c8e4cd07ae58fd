"""What a transaction knows already: read again only after a lock, or after what was written unseen.

A lock may have waited for another commit: after it, what was read before does not count. Except for what
nobody else can have written meanwhile: jobs that were locked before, their stages, runs whose clocks were.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar, cast
from uuid import UUID

Kind = Literal["run", "jobs", "stages"]
Read = TypeVar("Read")


class Placed(Protocol):
    """A job or a stage."""

    @property
    def id(self) -> UUID: ...
    @property
    def run_id(self) -> UUID: ...
    @property
    def ordinal(self) -> int: ...


class Seen:
    """Of one transaction. `now` is its time, once a statement has told it."""

    def __init__(self) -> None:
        self.now: datetime | None = None
        self._kept: dict[tuple[Kind, UUID], Any] = {}
        self._held: dict[UUID, Placed | None] = {}
        self._clocks: set[UUID] = set()

    def read(self, kind: Kind, of: UUID, ask: Callable[[], Read]) -> Read:
        """What is known, or what `ask` says."""
        key = (kind, of)
        if key not in self._kept:
            self._kept[key] = ask()
        return cast("Read", self._kept[key])

    def stages_of(self, job: UUID) -> list[Any]:
        """Those of a job, where all of its run are known; nothing where they are not."""
        for (kind, _), known in self._kept.items():
            if kind == "stages" and (found := [stage for stage in known if stage.job_id == job]):
                return found
        return []

    def made(self, kind: Kind, of: UUID, what: object) -> None:
        """It was made here, so that nothing else of it is there."""
        self._kept[kind, of] = what

    def added(self, kind: Literal["jobs", "stages"], of: UUID, one: Placed) -> None:
        """One more of what is known to be there; where that is not known, it is still to be read."""
        known = self._kept.get((kind, of))
        if known is not None:
            self._kept[kind, of] = sorted([*known, one], key=lambda each: each.ordinal)

    def wrote(self, kind: Literal["jobs", "stages"], one: Placed) -> None:
        """One of them was written here, and is so now, as PostgreSQL said."""
        if kind == "jobs" and one.id in self._held:
            self._held[one.id] = one
        for key, known in self._kept.items():
            if key[0] == kind:
                self._kept[key] = [one if each.id == one.id else each for each in known]

    def changed(self, kind: Kind) -> None:
        """Something of that kind was written here."""
        if kind == "jobs":
            self._held = dict.fromkeys(self._held)
        for key in [key for key in self._kept if key[0] == kind]:
            del self._kept[key]

    def locked(self, jobs: Iterable[Placed] = ()) -> None:
        """These are locked by now, and as they are here."""
        self._kept.clear()
        self._held |= {job.id: job for job in jobs}

    def at_clock(self, run: UUID, read: object, jobs: int) -> None:
        """The clock of a run that has so many jobs is locked, and this was `read` of it."""
        mine = [job for job in self._held.values() if job is not None and job.run_id == run]
        is_whole = len(mine) == jobs
        self._clocks.add(run)
        self._kept = {key: known for key, known in self._kept.items() if self._stands(*key, known)}
        self._kept["run", run] = read
        if is_whole:
            self._kept["jobs", run] = sorted(mine, key=lambda each: each.ordinal)
        else:
            self._kept.pop(("jobs", run), None)
            self._kept.pop(("stages", run), None)

    def _stands(self, kind: Kind, of: UUID, known: Any) -> bool:
        """Whether nobody else can have written it. Another job may have come to a run whose clock is free."""
        match kind:
            case "run":
                return of in self._clocks
            case "jobs":
                return of in self._clocks and all(job.id in self._held for job in known)
            case "stages":
                return all(stage.job_id in self._held for stage in known)
