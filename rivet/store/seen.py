"""What a transaction knows already: read again only after a lock, or after what was written unseen."""

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeVar, cast
from uuid import UUID

Kind = Literal["run", "jobs", "stages"]
Read = TypeVar("Read")


class Placed(Protocol):
    """A job or a stage."""

    @property
    def id(self) -> UUID: ...
    @property
    def ordinal(self) -> int: ...


class Seen:
    """Of one transaction. A lock may have waited for another commit: after it nothing seen before counts."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Kind, UUID], Any] = {}

    def read(self, kind: Kind, of: UUID, ask: Callable[[], Read]) -> Read:
        """What is known, or what `ask` says."""
        key = (kind, of)
        if key not in self._kept:
            self._kept[key] = ask()
        return cast("Read", self._kept[key])

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
        for key, known in self._kept.items():
            if key[0] == kind:
                self._kept[key] = [one if each.id == one.id else each for each in known]

    def changed(self, kind: Kind) -> None:
        """Something of that kind was written here."""
        for key in [key for key in self._kept if key[0] == kind]:
            del self._kept[key]

    def locked(self) -> None:
        self._kept.clear()
