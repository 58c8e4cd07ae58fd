"""What the verbs on secrets need: where they are kept, and the vault that seals their values."""

from collections.abc import Sequence
from typing import Protocol

from rivet.domain.ids import ProjectId
from rivet.domain.secret import Audience, Sealed, Secret


class Secrets(Protocol):
    def get(self, project: ProjectId, name: str) -> Secret | None: ...
    def put(self, project: ProjectId, name: str, sealed: Sealed, audience: Audience, actor: str) -> Secret:
        """Insert, or replace the one of that name; it keeps when it was made."""

    def delete(self, project: ProjectId, name: str) -> bool:
        """False where there was none."""

    def of_project(self, project: ProjectId, *, after: str | None, limit: int) -> Sequence[Secret]:
        """By name, those behind `after`."""


class Vault(Protocol):
    """Seals values; what was sealed opens only under the same key, project and name."""

    def seal(self, value: bytes, project: ProjectId, name: str) -> Sealed: ...
    def open(self, sealed: Sealed, project: ProjectId, name: str) -> bytes:
        """Raises Conflict where it was sealed under another key, or for another place."""
