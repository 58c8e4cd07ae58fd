"""The order: what a runner is told when it has claimed a job. It holds no secret."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import fields as fields_of
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

from rivet.domain.artifact import Contents
from rivet.domain.blob import Manifest
from rivet.domain.ids import Epoch, JobId, Path, RunId, StageKey
from rivet.domain.retry import ONCE, Retry
from rivet.domain.states import OnLost

PROTOCOL = 1


def _known(kind: type[Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """What a newer server tells besides, in the same protocol, can be done without."""
    names = {each.name for each in fields_of(kind)}
    return {name: value for name, value in told.items() if name in names}


def _fields(thing: Any) -> dict[str, Any]:
    """As `asdict` of a dataclass with slots; values stay what they are, for this is only told."""
    return {name: getattr(thing, name) for name in thing.__slots__}


class HandsOn(StrEnum):
    """What becomes of a job's workspace at its end: its folder stays on the runner, or is stored as well."""

    NOTHING = "nothing"
    LOCAL = "local"
    STORED = "stored"


@dataclass(frozen=True, slots=True)
class OrderedStage:
    """One stage of the job. `path` is its place in the evaluated table, `row` a matrix copy's values.

    `keep` are globs of what it hands on to stages that start from other workspaces.
    """

    key: StageKey
    name: str
    path: Path
    next_attempt: int
    timeout_s: float
    env: Mapping[str, str]
    status: str
    has_when: bool = False
    row: Mapping[str, Any] | None = None
    retry: Retry = ONCE
    allow_failure: bool | tuple[int, ...] = False
    keep: tuple[str, ...] = ()

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Self:
        fields = dict(told)
        fields["path"] = tuple(fields["path"])
        fields["keep"] = tuple(fields.get("keep") or ())
        retry, allowed = fields["retry"], fields["allow_failure"]
        fields["retry"] = Retry(**{**retry, "on": tuple(retry["on"])})
        fields["allow_failure"] = tuple(allowed) if isinstance(allowed, list) else bool(allowed)
        return cls(**_known(cls, fields))

    def forgives(self, exit_code: int | None) -> bool:
        """Whether a failure with this exit code only warns."""
        if isinstance(self.allow_failure, bool):
            return self.allow_failure
        return exit_code in self.allow_failure


@dataclass(frozen=True, slots=True)
class Grants:
    """What the pipeline's `permissions` ask for. The operator's half is the runner's own settings."""

    network: bool = False
    network_hosts: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Start:
    """The workspace that a job starts from: that which `job` left in that epoch, on this runner or `stored`.

    `is_shared`: others start from it as well, so that it must stay as it is. With `found_by` it is as that
    stage of the job found it. `is_empty`: there was nothing in it.
    """

    job: JobId
    epoch: Epoch
    is_shared: bool
    stored: Contents | None = None
    found_by: StageKey | None = None
    is_empty: bool = False

    def as_dict(self) -> dict[str, Any]:
        stored = None if self.stored is None else self.stored.as_dict()
        told = {"job": str(self.job), "epoch": self.epoch, "is_shared": self.is_shared, "stored": stored}
        return told | {"found_by": self.found_by, "is_empty": self.is_empty}

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Self:
        stored = told.get("stored")
        contents = None if stored is None else Contents.read(stored)
        return cls(
            job=JobId(UUID(told["job"])),
            epoch=Epoch(told["epoch"]),
            is_shared=bool(told["is_shared"]),
            stored=contents,
            found_by=told.get("found_by"),
            is_empty=bool(told.get("is_empty")),
        )


@dataclass(frozen=True, slots=True)
class Order:
    """`secrets` are the names that may be asked for; None: whatever the pipeline was granted.

    `hands_on`: what later jobs of the run may start from. `brings` is what earlier stages kept for this job,
    in their order: it is laid over the workspace that the job starts from. `output_lists` are what copies of
    a matrix set, by name and in the order of the copies. `folder`, a tar packed with zstd, is what the
    workspace starts from where it would be empty.
    """

    job: JobId
    run: RunId
    epoch: Epoch
    project: str
    pipeline: str
    number: int
    lua: str
    digest: str
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    facts: Mapping[str, Any]
    stages: tuple[OrderedStage, ...]
    env: Mapping[str, str]
    grants: Grants
    limits: Mapping[str, Any]
    isolation: str | None
    on_lost: OnLost
    timeout_left_s: float
    ticket: str = field(repr=False, default="")
    protocol: int = PROTOCOL
    secrets: tuple[str, ...] | None = None
    start: Start | None = None
    hands_on: HandsOn = HandsOn.NOTHING
    brings: tuple[Contents, ...] = ()
    output_lists: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    folder: Manifest | None = None

    def as_dict(self) -> dict[str, Any]:
        told = _fields(self)
        told["job"], told["run"] = str(self.job), str(self.run)
        told["stages"] = [{**_fields(stage), "retry": _fields(stage.retry)} for stage in self.stages]
        told["grants"] = _fields(self.grants)
        if self.start is not None:
            told["start"] = self.start.as_dict()
        told["folder"] = None if self.folder is None else self.folder.as_dict()
        told["brings"] = [contents.as_dict() for contents in self.brings]
        return told

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Self:
        """The order in a claim's answer. Raises KeyError or TypeError where it is not one."""
        fields = dict(told)
        fields["job"], fields["run"] = JobId(UUID(told["job"])), RunId(UUID(told["run"]))
        fields["epoch"] = Epoch(told["epoch"])
        fields["stages"] = tuple(OrderedStage.read(stage) for stage in told["stages"])
        start = told.get("start")
        if start is not None:
            fields["start"] = Start.read(start)
        fields["hands_on"] = HandsOn(told.get("hands_on", HandsOn.NOTHING))
        fields["brings"] = tuple(Contents.read(contents) for contents in told.get("brings") or ())
        grants = told["grants"]
        fields["grants"] = Grants(
            bool(grants["network"]), tuple(grants["network_hosts"]), tuple(grants["hosts"])
        )
        fields["on_lost"] = OnLost(told["on_lost"])
        secrets = told.get("secrets")
        fields["secrets"] = None if secrets is None else tuple(str(name) for name in secrets)
        folder = told.get("folder")
        fields["folder"] = None if folder is None else Manifest.read(folder)
        return cls(**_known(cls, fields))

    def stage(self, key: StageKey) -> OrderedStage:
        for stage in self.stages:
            if stage.key == key:
                return stage
        raise KeyError(key)
