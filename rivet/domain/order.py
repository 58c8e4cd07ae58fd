"""The order: what a runner is told when it has claimed a job. It holds no secret."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self
from uuid import UUID

from rivet.domain.ids import Epoch, JobId, RunId, StageKey
from rivet.domain.states import OnLost

PROTOCOL = 1


@dataclass(frozen=True, slots=True)
class OrderedStage:
    """One stage of the job. `index` is its place in the definition's `stages`, from 1."""

    key: StageKey
    name: str
    index: int
    next_attempt: int
    timeout_s: float
    env: Mapping[str, str]
    status: str


@dataclass(frozen=True, slots=True)
class Grants:
    """What the pipeline's `permissions` ask for. The operator's half is the runner's own settings."""

    network: bool = False
    network_hosts: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Order:
    """`secrets` are the names that may be asked for; None: whatever the pipeline was granted."""

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

    def as_dict(self) -> dict[str, Any]:
        told = asdict(self)
        told["job"], told["run"] = str(self.job), str(self.run)
        return told

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Self:
        """The order in a claim's answer. Raises KeyError or TypeError where it is not one."""
        fields = dict(told)
        fields["job"], fields["run"] = JobId(UUID(told["job"])), RunId(UUID(told["run"]))
        fields["epoch"] = Epoch(told["epoch"])
        fields["stages"] = tuple(OrderedStage(**stage) for stage in told["stages"])
        grants = told["grants"]
        fields["grants"] = Grants(
            bool(grants["network"]), tuple(grants["network_hosts"]), tuple(grants["hosts"])
        )
        fields["on_lost"] = OnLost(told["on_lost"])
        secrets = told.get("secrets")
        fields["secrets"] = None if secrets is None else tuple(str(name) for name in secrets)
        return cls(**fields)

    def stage(self, key: StageKey) -> OrderedStage:
        for stage in self.stages:
            if stage.key == key:
                return stage
        raise KeyError(key)
