"""A job: consecutive stages that one runner executes in one workspace; what is begun, leased and lost."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from rivet.domain.ids import Epoch, JobId, RunId, SessionId, StageKey
from rivet.domain.stage import Stage
from rivet.domain.states import JobStatus, OnLost, Reason, StageStatus

MAX_EPOCHS = 5
"""A job that has been begun so often is not begun again: it may be what kills its runners."""


@dataclass(frozen=True, slots=True)
class Group:
    """Of the members of one `parallel` or `matrix`: at most `max_parallel` of them run at once."""

    key: StageKey
    fail_fast: bool = False
    max_parallel: int | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a job's workspace comes from when a rerun does not make it anew: a job, and its epoch.

    Without a `stage` the job that has it stands for that one, and hands on what that one left. With one, it
    begins with the workspace as that stage found it there. `is_empty`: nothing was in it, so that it can be
    had anywhere; else it is on `runner`.
    """

    job: JobId
    epoch: Epoch
    runner: str | None
    stage: StageKey | None = None
    is_empty: bool = False

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "job": str(self.job)}

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Self:
        """From what `as_dict` gave, after JSON."""
        return cls(**{**told, "job": JobId(UUID(told["job"]))})


@dataclass(frozen=True, slots=True)
class Job:
    """`last_seq` and `ingested_seq` are of the present epoch's journal; `runner` held it last.

    It begins when all that it `waits_for` have passed; one `is_last` belongs to `finally` and begins when all
    others have ended. `starts_from` is whose workspace it goes on from (None: the one that the run began
    with). `group` has what the members of a `parallel` or `matrix` share. `is_cancelled`: its end was asked
    for. `origin` is of jobs that a rerun has not made anew.
    """

    id: JobId
    run_id: RunId
    ordinal: int
    queue: str
    status: JobStatus
    reason: Reason | None
    epoch: Epoch
    on_lost: OnLost
    runner: str | None = None
    session: SessionId | None = None
    last_seq: int | None = None
    ingested_seq: int = 0
    queued_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    waits_for: tuple[JobId, ...] = ()
    starts_from: JobId | None = None
    group: Group | None = None
    is_last: bool = False
    is_cancelled: bool = False
    origin: Origin | None = None

    @property
    def left(self) -> Origin | None:
        """Whose workspace those go on from that start from this one; None where it never ran."""
        if self.origin is not None and self.origin.stage is None:
            return self.origin
        return None if self.runner is None else Origin(self.id, self.epoch, self.runner)

    def is_held_in(self, epoch: Epoch) -> bool:
        """Is this the epoch in which a runner holds the job?"""
        return self.status is JobStatus.RUNNING and self.epoch == epoch

    @property
    def is_ingested(self) -> bool:
        """Has everything of this epoch's journal, up to its last record, reached the database?"""
        return self.last_seq is not None and self.ingested_seq >= self.last_seq


_WORST_FIRST = (
    (StageStatus.ERRORED, JobStatus.ERRORED),
    (StageStatus.TIMED_OUT, JobStatus.TIMED_OUT),
    (StageStatus.FAILED, JobStatus.FAILED),
    (StageStatus.CANCELLED, JobStatus.CANCELLED),
)


def end_of(stages: Iterable[StageStatus]) -> JobStatus:
    """How a job ends whose stages have all ended so."""
    seen = set(stages)
    for stage, job in _WORST_FIRST:
        if stage in seen:
            return job
    return JobStatus.PASSED


def reason_of(status: JobStatus, stages: Iterable[Stage]) -> Reason | None:
    """Why a job ended so: what the first stage says that ended so. Those behind it say only that it did."""
    if status is JobStatus.PASSED:
        return None
    return next((stage.reason for stage in stages if stage.status.value == status.value), None)
