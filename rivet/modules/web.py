"""Requests over HTTP, as `http` asks a stage for them, and what is answered."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from rivet.domain.secret import Opaque


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. `title` is the call's, for errors. With `json` given (in a tuple), there is no `body`.

    `timeout_s` bounds all of it, redirects too; `max_bytes` the answer's body, unpacked.
    """

    title: str
    method: str
    url: str
    headers: Mapping[str, str | Opaque]
    body: bytes | Opaque | None
    json: tuple[Any] | None
    timeout_s: float
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Answer:
    """`url` is where it came from in the end. Headers are by their names in small letters."""

    status: int
    url: str
    headers: Mapping[str, bytes]
    body: bytes

    @property
    def is_json(self) -> bool:
        kind = self.headers.get("content-type", b"").partition(b";")[0].strip().lower()
        return kind == b"application/json" or kind.endswith(b"+json")


class Web(Protocol):
    """What may be reached of the network beside the stage's own processes."""

    def ask(self, ask: Ask) -> Answer:
        """Ask, and follow redirects. Raises CallError where nothing is answered, or what may not be had."""
