"""What stages keep for others: no two of one group may keep a path with different content."""

from collections.abc import Mapping
from dataclasses import dataclass

from rivet.domain.ids import StageKey

Paths = Mapping[str, str]
"""The digest of each file's content by its path in the workspace."""


@dataclass(frozen=True, slots=True)
class KeepConflict:
    """`path` is kept by the stage `other` with other content."""

    path: str
    other: StageKey


def conflict_of(kept: Paths, others: Mapping[StageKey, Paths]) -> KeepConflict | None:
    """The first path, in order, that another stage keeps with other content, or as a folder."""
    folders = {folder for path in kept for folder in _folders(path)}
    for stage, paths in others.items():
        theirs = {folder for path in paths for folder in _folders(path)}
        wrong = {path for path, digest in kept.items() if paths.get(path, digest) != digest or path in theirs}
        wrong |= folders & paths.keys()
        if wrong:
            return KeepConflict(min(wrong), stage)
    return None


def _folders(path: str) -> list[str]:
    """All folders that a path lies in."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]
