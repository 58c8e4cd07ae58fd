"""What a transaction has read already: read again only after something was written or locked."""

from collections.abc import Callable
from typing import Any, Literal, TypeVar, cast
from uuid import UUID

Kind = Literal["run", "jobs", "stages"]
Read = TypeVar("Read")


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

    def changed(self, kind: Kind) -> None:
        """Something of that kind was written here."""
        for key in [key for key in self._kept if key[0] == kind]:
            del self._kept[key]

    def locked(self) -> None:
        self._kept.clear()
