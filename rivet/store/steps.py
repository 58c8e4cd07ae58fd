"""The steps that this version knows, in order, as `migrations/versions/` says: without Alembic."""

import functools
import re
from collections.abc import Sequence
from pathlib import Path

_FOLDER = Path(__file__).parent / "migrations" / "versions"
_REVISION = re.compile(r'^revision\b[^=]*= "(\w+)"$', re.MULTILINE)
_BEFORE = re.compile(r'^down_revision\b[^=]*= (?:"(\w+)"|None)$', re.MULTILINE)


@functools.cache
def known_steps() -> Sequence[str]:
    """Each names the one before it; their numbers are not in this order."""
    after: dict[str | None, str] = {}
    for file in _FOLDER.glob("[0-9]*.py"):
        text = file.read_text()
        step, before = _REVISION.search(text), _BEFORE.search(text)
        if step is None or before is None:
            raise LookupError(f"{file.name} does not say which step it is, and after which it comes")
        after[before[1]] = step[1]
    steps: list[str] = []
    while (following := after.get(steps[-1] if steps else None)) is not None:
        steps.append(following)
    return steps


def is_known(step: str) -> bool:
    """Is it one of the steps that this version has?"""
    return step in known_steps()
