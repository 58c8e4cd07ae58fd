"""A run: one execution of a pipeline's version with recorded inputs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rivet.domain.ids import PipelineId, ProjectId, RunId, VersionId
from rivet.domain.states import FINISHED_RUN, Reason, RunStatus, StageStatus


@dataclass(frozen=True, slots=True)
class Plan:
    """What the definition said for this run, recorded when it was accepted."""

    env: Mapping[str, str]
    network: bool
    network_hosts: tuple[str, ...]
    hosts: tuple[str, ...]
    limits: Mapping[str, Any]
    isolation: str | None
    timeout_s: float
    on_lost: str
    digest: str
    secrets: tuple[str, ...] | None = None
    turns: int = 1
    cancel_running: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """`number` counts per pipeline. `facts` are the recorded values of `run.*`; times are the database's.

    `waited_s` is how long it waited for people, which does not count as its time. `turn` is the group of its
    `concurrency`, in which runs take turns. `folder` is the SHA-256 of the one that it starts from.
    `rerun_of` is the run that it runs again; it stays when that one is gone.
    """

    id: RunId
    project_id: ProjectId
    project: str
    pipeline_id: PipelineId
    pipeline: str
    version_id: VersionId
    number: int
    status: RunStatus
    reason: Reason | None
    inputs: Mapping[str, Any]
    facts: Mapping[str, Any]
    plan: Plan
    actor: str
    trigger: str
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    cancelled_by: str | None = None
    lines: int = 0
    waited_s: float = 0.0
    turn: str | None = None
    folder: str | None = None
    rerun_of: RunId | None = None

    @property
    def is_finished(self) -> bool:
        return self.status in FINISHED_RUN


_WORST_FIRST = (
    (StageStatus.ERRORED, RunStatus.ERRORED),
    (StageStatus.TIMED_OUT, RunStatus.TIMED_OUT),
    (StageStatus.FAILED, RunStatus.FAILED),
    (StageStatus.CANCELLED, RunStatus.CANCELLED),
)


def end_of(stages: Iterable[StageStatus], *, cancelling: bool) -> RunStatus:
    """How a run ends whose stages have all ended so: what is ours first, then what is the user's.

    A run that was being cancelled ends `cancelled` unless something of ours broke on the way.
    """
    seen = set(stages)
    if cancelling:
        return RunStatus.ERRORED if StageStatus.ERRORED in seen else RunStatus.CANCELLED
    for stage, run in _WORST_FIRST:
        if stage in seen:
            return run
    return RunStatus.PASSED
