"""The fields `artifacts` and `cache` of a stage: what it keeps at its end, and what it begins with."""

import re
from dataclasses import dataclass
from typing import Any

from rivet.domain.artifact import NAME, NAMED_SO, is_inside
from rivet.domain.cache import MOST_FALLBACKS, MOST_KEY_BYTES
from rivet.domain.field_rules import Fields
from rivet.domain.pipeline import Function

MOST_PATHS = 100
WHEN = ("success", "failure", "always")


@dataclass(frozen=True, slots=True)
class KeptArtifacts:
    """Uploaded when the stage ends in the way that `when` says; `name` is None for the stage's key."""

    name: str | None
    paths: tuple[str, ...]
    when: str

    def is_wanted(self, *, passed: bool) -> bool:
        return self.when in ("always", "success" if passed else "failure")


@dataclass(frozen=True, slots=True)
class KeptCache:
    """Restored before the script, and saved after it where it succeeded. A function gives the key then."""

    key: str | Function
    paths: tuple[str, ...]
    fallback: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    artifacts: KeptArtifacts | None = None
    cache: KeptCache | None = None


def read_kept(fields: Fields) -> Kept:
    """What the fields of a stage say; what is wrong is added to its findings."""
    return Kept(_artifacts(fields), _cache(fields))


def kept_of(stage: Any) -> Kept:
    """The same of a stage's evaluated table that was found to be right before."""
    return read_kept(Fields(stage, (), "the stage", []))


def _artifacts(fields: Fields) -> KeptArtifacts | None:
    given = fields.table.get("artifacts")
    if given is None:
        return None
    if isinstance(given, list):
        return KeptArtifacts(None, _paths(fields, "artifacts"), "success")
    inner = fields.within("artifacts", f"{fields.what}: artifacts")
    if inner is None:
        fields.findings.pop()
        fields.expect("artifacts", "a list of globs, or a table with paths")
        return None
    inner.refuse_unknown(("name", "paths", "when"))
    name = inner.text("name", most=100)
    if name is not None and not re.fullmatch(NAME, name, re.ASCII):
        inner.expect("name", NAMED_SO, code="wrong-name")
    return KeptArtifacts(name, _paths(inner, "paths"), inner.choice("when", WHEN) or "success")


def _cache(fields: Fields) -> KeptCache | None:
    inner = fields.within("cache", f"{fields.what}: cache")
    if inner is None:
        return None
    inner.refuse_unknown(("key", "paths", "fallback"))
    key = inner.table.get("key")
    if not isinstance(key, Function):
        key = inner.text("key", most=MOST_KEY_BYTES, required=True) or ""
    fallback = inner.texts("fallback", "the beginning of a key", _is_key)
    if len(fallback) > MOST_FALLBACKS:
        inner.expect("fallback", f"at most {MOST_FALLBACKS} keys", code="out-of-range")
    return KeptCache(key, _paths(inner, "paths"), fallback)


def _paths(fields: Fields, name: str) -> tuple[str, ...]:
    if fields.table.get(name) in (None, {}, []):
        fields.wrong("missing-field", f'{fields.what} has no "{name}": it needs a list of globs', name)
        return ()
    inside = "a glob of paths inside the workspace"
    paths = fields.texts(name, inside, lambda path: path != "" and is_inside(path))
    if len(paths) > MOST_PATHS:
        fields.expect(name, f"at most {MOST_PATHS} globs", code="out-of-range")
    return paths


def _is_key(text: str) -> bool:
    return text.isprintable() and 0 < len(text.encode()) <= MOST_KEY_BYTES
