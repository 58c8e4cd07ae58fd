"""Secrets: their names and bounds, who may use one, and the opaque values that scripts see of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rivet.domain.ids import ProjectId

NAME = re.compile(r"[A-Z][A-Z0-9_]{0,99}")
NAME_IN_WORDS = "1 to 100 capital letters, digits and _, a letter first"
MAX_VALUE_BYTES = 64 * 1024
MAX_PARTS = 1000
SHOWN = "***"


@dataclass(frozen=True, slots=True)
class Audience:
    """Who may use a secret: the pipelines of these slugs, or all; and of them only runs on these branches.

    `branches` are globs in which `*` stands for anything but `/`, and `**` for anything; none means any run,
    also one that is of no branch.
    """

    pipelines: tuple[str, ...] = ()
    branches: tuple[str, ...] = ()
    all_pipelines: bool = False

    @property
    def is_nobody(self) -> bool:
        return not self.pipelines and not self.all_pipelines

    def has_pipeline(self, pipeline: str) -> bool:
        return self.all_pipelines or pipeline in self.pipelines

    def has_branch(self, branch: str | None) -> bool:
        if not self.branches:
            return True
        return branch is not None and any(branch_matches(branch, glob) for glob in self.branches)


@dataclass(frozen=True, slots=True)
class Sealed:
    """An encrypted value: which key it needs, the nonce, and what AES-GCM made of it."""

    key_id: str
    nonce: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Secret:
    """A stored secret; its value is sealed, and bound to project and name."""

    project_id: ProjectId
    name: str
    sealed: Sealed
    audience: Audience
    set_by: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Reference:
    """Stands in an opaque value for the plain text of a secret."""

    name: str


@dataclass(frozen=True, slots=True)
class Opaque:
    """What a script holds of a secret: literal bytes and references, in order; never the plain text."""

    parts: Sequence[bytes | Reference]

    def __str__(self) -> str:
        return b"".join(
            SHOWN.encode() if isinstance(part, Reference) else part for part in self.parts
        ).decode("utf-8", "replace")


def holds_opaque(value: object) -> bool:
    """Is it, or is anywhere in it, an opaque value?"""
    match value:
        case Opaque():
            return True
        case dict():
            return any(holds_opaque(item) for item in value.values())
        case list():
            return any(holds_opaque(item) for item in value)
    return False


def branch_matches(branch: str, glob: str) -> bool:
    """`release/*` matches `release/1` and not `release/1/fix`; `release/**` matches both."""
    parts = re.split(r"(\*\*|\*|\?)", glob)
    wild = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    pattern = "".join(wild.get(part, re.escape(part)) for part in parts)
    return re.fullmatch(pattern, branch, re.DOTALL) is not None
