"""Caches: what a pipeline keeps from run to run under a key, found by the key or by the beginning of one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from rivet.domain.artifact import Contents
from rivet.domain.errors import InvalidInput
from rivet.domain.ids import PipelineId, ProjectId
from rivet.domain.wording import shown

MOST_KEY_BYTES = 512
MOST_FALLBACKS = 10


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where a pipeline's caches of one branch are; `branch` is empty for the default branch."""

    project_id: ProjectId
    pipeline_id: PipelineId
    branch: str


@dataclass(frozen=True, slots=True)
class Cache:
    shelf: Shelf
    key: str
    contents: Contents
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Look:
    """One place to look: on this shelf, the newest whose key is `key`, or begins with it."""

    shelf: Shelf
    key: str
    is_prefix: bool


def looks(shelf: Shelf, key: str, fallback: Sequence[str]) -> Iterator[Look]:
    """Where to look, one after another: the key, then each fallback; the own branch, then the default."""
    shelves = list(dict.fromkeys((shelf, Shelf(shelf.project_id, shelf.pipeline_id, ""))))
    for wanted, is_prefix in ((key, False), *((prefix, True) for prefix in fallback)):
        for each in shelves:
            yield Look(each, wanted, is_prefix)


def checked_key(given: object, field: str = "key") -> str:
    """A key, or the beginning of one. Raises InvalidInput.

    Keys are no paths, though they may have slashes: one that would lead somewhere as a path is refused.
    """
    if not (isinstance(given, str) and given.isprintable() and 0 < len(given.encode()) <= MOST_KEY_BYTES):
        raise InvalidInput(f"{field}: expected 1 to {MOST_KEY_BYTES} bytes of printable text")
    if given.startswith("/") or {".", ".."} & set(given.split("/")):
        raise InvalidInput(
            f'{field}: expected a text that does not begin with "/" and has no "." or ".." between slashes, '
            f"given {shown(given)}"
        )
    return given
