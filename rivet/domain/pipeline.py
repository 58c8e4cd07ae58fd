"""A pipeline's definition as values, and its digest. `definition_rules` says what makes it valid."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rivet.domain.ids import Path, StageKey
from rivet.domain.order import Grants
from rivet.domain.retry import ONCE, Retry
from rivet.domain.secret import Opaque
from rivet.domain.states import OnLost

DEFAULT_QUEUE = "default"
DEFAULT_RUN_TIMEOUT_S = 6 * 3600.0
DEFAULT_STAGE_TIMEOUT_S = 3600.0
MAX_COPIES = 256


@dataclass(frozen=True, slots=True)
class Function:
    """A Lua function in an evaluated table: all that is kept of it is the line where it begins."""

    line: int


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with a definition, at a path of it."""

    path: Path
    code: str
    message: str
    severity: str = "error"


@dataclass(frozen=True, slots=True)
class Place:
    """A finding where a person can go to: lines and columns count from 1."""

    line: int
    column: int
    code: str
    message: str
    severity: str = "error"

    def as_dict(self) -> dict[str, Any]:
        return {
            "line": self.line,
            "column": self.column,
            "code": self.code,
            "message": self.message,
            "severity": self.severity,
        }

    def told(self, file: str) -> str:
        """`file:line:column: error[code]: message`, as compilers say it."""
        return f"{file}:{self.line}:{self.column}: {self.severity}[{self.code}]: {self.message}"


@dataclass(frozen=True, slots=True)
class Input:
    name: str
    type: str
    default: str | float | bool | None = None
    required: bool = False
    options: tuple[Any, ...] = ()
    pattern: str | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Approval:
    """What a stage waits for a person for. `approvers` are names; nobody named: whoever may start runs."""

    message: str = ""
    approvers: tuple[str, ...] = ()
    timeout_s: float | None = None
    inputs: tuple[Input, ...] = ()


@dataclass(frozen=True, slots=True)
class Matrix:
    """One copy of a stage a row. `rows` is None where a function gives them when the stage is reached."""

    rows: tuple[Mapping[str, Any], ...] | None
    exclude: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Concurrency:
    """`group` is None where a function gives it at the run's start."""

    group: str | None
    limit: int = 1
    cancel_running: bool = False


@dataclass(frozen=True, slots=True)
class StageDefinition:
    """A stage. `path` is its place in the evaluated table, `needs` are keys.

    `allow_failure` is a list of exit codes, or true for any failure. `members` are those of `parallel`.
    """

    key: StageKey
    name: str
    path: Path
    env: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = DEFAULT_STAGE_TIMEOUT_S
    has_script: bool = True
    has_when: bool = False
    needs: tuple[StageKey, ...] | None = None
    members: tuple["StageDefinition", ...] = ()
    matrix: Matrix | None = None
    fail_fast: bool = False
    max_parallel: int | None = None
    keep: tuple[str, ...] = ()
    queue: str | None = None
    retry: Retry = ONCE
    allow_failure: bool | tuple[int, ...] = False
    approval: Approval | None = None


@dataclass(frozen=True, slots=True)
class Definition:
    """A valid definition. `stages` is empty where they are a function, to be called at a run's start.

    `last` are the stages of `finally`. `secrets` narrows what the pipeline was given to these names; None
    leaves it as it is.
    """

    name: str
    slug: str
    description: str
    inputs: tuple[Input, ...]
    env: Mapping[str, str]
    queue: str
    grants: Grants
    limits: Mapping[str, Any]
    isolation: str | None
    timeout_s: float
    on_lost: OnLost
    stages: tuple[StageDefinition, ...]
    stages_from_function: bool = False
    secrets: tuple[str, ...] | None = None
    last: tuple[StageDefinition, ...] = ()
    concurrency: Concurrency | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of evaluating a file: findings, and the definition if none of them is an error."""

    table: Any
    definition: Definition | None
    places: Sequence[Place]
    digest: str

    @property
    def errors(self) -> list[Place]:
        return [place for place in self.places if place.severity == "error"]


def slug_of(name: str) -> str:
    """`Example Pipeline` as `example-pipeline`; empty where no letter or digit gives one."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:100].strip("-")


def digest_of(table: Any) -> str:
    """SHA-256 (hexadecimal) of the evaluated table's canonical JSON, each function as its line."""
    return hashlib.sha256(
        json.dumps(plain_of(table), sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    ).hexdigest()


def plain_of(table: Any) -> Any:
    """The evaluated table as JSON can hold it. Keys that are no strings are written so that none collide."""
    match table:
        case Function(line):
            return {"$function": line}
        case Mapping():
            return {
                key if isinstance(key, str) else f"$key:{type(key).__name__}:{key!r}": plain_of(value)
                for key, value in table.items()
            }
        case list() | tuple():
            return [plain_of(value) for value in table]
        case bytes():
            return {"$bytes": table.hex()}
        case Opaque(parts):
            # No file can hold one while it is defined: it is what only a child that lies can send.
            return {"$opaque": len(parts)}
        case float() if table != table or table in (float("inf"), float("-inf")):
            return {"$number": repr(table)}
    return table
