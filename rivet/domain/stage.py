"""A stage of a run, and its attempts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, Self

from rivet.domain.ids import Epoch, JobId, Path, RunId, StageId, StageKey
from rivet.domain.pipeline import Approval, Input
from rivet.domain.retry import ONCE, Retry
from rivet.domain.states import AttemptStatus, OnLost, Reason, StageStatus

_FINAL = frozenset({Reason.LIMIT_RUN_TIME, Reason.DEFINITION_CHANGED, Reason.KEEP_CONFLICT})
"""Why an attempt ended in such a way that another would end no better."""

CancelScope = Literal["run", "stage"]
"""What was cancelled: everything, or one stage; then those that build on it are skipped."""


class Retried(Protocol):
    """What says how a stage is tried: a recorded one, or an ordered one."""

    @property
    def retry(self) -> Retry: ...
    @property
    def allow_failure(self) -> bool | tuple[int, ...]: ...
    def forgives(self, exit_code: int | None) -> bool: ...


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
class Spec:
    """What the definition says of a stage, recorded when its row was made.

    `path` is its place in the evaluated table, `row` a matrix copy's values, `group` the key that it shares
    with the other members of its `parallel` or `matrix`. `is_open` says that a function gives the rows, and
    has not been asked yet.
    """

    path: Path
    has_script: bool = True
    has_when: bool = False
    needs: tuple[StageKey, ...] | None = None
    row: Mapping[str, Any] | None = None
    group: StageKey | None = None
    is_open: bool = False
    exclude: tuple[Mapping[str, Any], ...] = ()
    keep: tuple[str, ...] = ()
    retry: Retry = ONCE
    allow_failure: bool | tuple[int, ...] = False
    approval: Approval | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Self:
        """From what `as_dict` gave, after JSON."""
        fields = dict(told)
        retry, approval, allowed = fields.get("retry"), fields.get("approval"), fields.get("allow_failure")
        fields["path"] = tuple(fields["path"])
        fields["needs"] = None if fields.get("needs") is None else tuple(fields["needs"])
        fields["exclude"] = tuple(fields.get("exclude") or ())
        fields["keep"] = tuple(fields.get("keep") or ())
        fields["retry"] = Retry(**{**retry, "on": tuple(retry["on"])}) if retry else ONCE
        fields["allow_failure"] = tuple(allowed) if isinstance(allowed, list) else bool(allowed)
        if approval is not None:
            inputs = tuple(Input(**{**one, "options": tuple(one["options"])}) for one in approval["inputs"])
            approvers = tuple(approval["approvers"])
            fields["approval"] = Approval(**{**approval, "approvers": approvers, "inputs": inputs})
        return cls(**fields)

    def forgives(self, exit_code: int | None) -> bool:
        """Whether a failure with this exit code only warns."""
        if isinstance(self.allow_failure, bool):
            return self.allow_failure
        return exit_code in self.allow_failure


def after_attempt(
    status: AttemptStatus, number: int, reason: Reason | None, exit_code: int | None, rule: Retried
) -> StageStatus:
    """What a stage becomes when its attempt of that number ended so: runner and control both ask here.

    Pending: it is tried again. A lost attempt is the job's to judge.
    """
    tried_again = status.value in rule.retry.on and number < rule.retry.attempts
    if status is not AttemptStatus.LOST and tried_again and reason not in _FINAL:
        return StageStatus.PENDING
    if status is AttemptStatus.FAILED and reason is not Reason.KEEP_CONFLICT and rule.forgives(exit_code):
        return StageStatus.WARNED
    if status is AttemptStatus.TIMED_OUT and rule.allow_failure is True and reason not in _FINAL:
        return StageStatus.WARNED
    return StageStatus.ERRORED if status is AttemptStatus.LOST else StageStatus(status)


def is_begun_again(rule: Retried, number: int, on_lost: OnLost) -> bool:
    """Whether a stage is begun again whose attempt of that number was lost: `retry` goes before `on_lost`."""
    if "lost" in rule.retry.on:
        return number < rule.retry.attempts
    return on_lost is OnLost.RESTART


@dataclass(frozen=True, slots=True)
class Stage:
    """`ordinal` is its place in the run, from 1.

    `cancelled_by` is who asked for the end of this stage alone; it may still be running. `from_run` is the
    run in which it really ran, where it stands in a rerun as it ended there; its key is the same.
    """

    id: StageId
    run_id: RunId
    job_id: JobId
    key: StageKey
    name: str
    ordinal: int
    status: StageStatus
    reason: Reason | None
    env: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 3600.0
    attempts: int = 0
    cancelled_by: str | None = None
    approved_by: str | None = None
    spec: Spec = Spec(())
    waiting_since: datetime | None = None
    from_run: RunId | None = None
