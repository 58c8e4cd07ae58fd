"""A stage of a run, and its attempts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from rivet.domain.ids import Epoch, JobId, RunId, StageId, StageKey
from rivet.domain.states import AttemptStatus, Reason, StageStatus

CancelScope = Literal["run", "stage"]
"""What was cancelled: everything, or one stage; then those that build on it are skipped."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One execution of a stage's script; `error` is `{message, file, line}` of what ended it."""

    stage_id: StageId
    number: int
    job_id: JobId
    epoch: Epoch
    status: AttemptStatus
    reason: Reason | None
    runner: str
    started_at: datetime
    ended_at: datetime | None = None
    exit_code: int | None = None
    error: Mapping[str, Any] | None = None
    lines: int = 0


@dataclass(frozen=True, slots=True)
class Stage:
    """`index` is the stage's place in the definition's list, from 1; `ordinal` its place in the run.

    `cancelled_by` is who asked for the end of this stage alone; it may still be running.
    """

    id: StageId
    run_id: RunId
    job_id: JobId
    key: StageKey
    name: str
    index: int
    ordinal: int
    status: StageStatus
    reason: Reason | None
    env: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 3600.0
    attempts: int = 0
    cancelled_by: str | None = None
