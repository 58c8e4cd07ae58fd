"""What the verbs need of the world where runs, jobs, stages and their leases are kept.

Every write is guarded by the state it expects and says whether it happened.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rivet.domain.ids import (
    Epoch,
    JobId,
    ProjectId,
    RunId,
    SessionId,
    StageId,
    StageKey,
    TokenId,
)
from rivet.domain.job import Job, Origin
from rivet.domain.run import Run
from rivet.domain.stage import Attempt, Stage
from rivet.domain.states import (
    AttemptStatus,
    JobStatus,
    Reason,
    RunStatus,
    StageStatus,
)


@dataclass(frozen=True, slots=True)
class Lease:
    job_id: JobId
    epoch: Epoch
    session: SessionId
    age_s: float
    helped: bool


@dataclass(frozen=True, slots=True)
class Asker:
    """The runner of a session, and the token that it registered with."""

    name: str
    token_id: TokenId


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt of a stage ended: its number, the epoch in which it ran, and what it came to."""

    number: int
    epoch: Epoch
    status: AttemptStatus
    reason: Reason | None
    exit_code: int | None
    error: Mapping[str, Any] | None


class Runs(Protocol):
    def add(self, run: Run) -> None:
        """Also makes its clock."""

    def get(self, run: RunId) -> Run | None: ...
    def lock(self, run: RunId) -> Run | None:
        """The run, its clock locked until the transaction ends."""

    def move(
        self, run: Run, to: RunStatus, *, reason: Reason | None = None, cancelled_by: str | None = None
    ) -> bool:
        """From `run.status`; sets `started_at` at the first `running` and `ended_at` at an end."""

    def lock_turn(self, project: ProjectId, turn: str) -> None:
        """Be the only one who decides whose turn it is in this group, until the transaction ends."""

    def of_turn(self, project: ProjectId, turn: str) -> Sequence[Run]:
        """Runs of the group that have not ended, in the order in which they were started."""

    def admit(self, run: Run) -> bool:
        """Its turn has come: it waits for nobody any more. False where it has ended meanwhile."""

    def turns(self) -> Sequence[tuple[ProjectId, str]]:
        """Groups in which runs wait."""

    def going_on(self, limit: int) -> Sequence[RunId]:
        """Runs that have not ended, oldest first."""

    def with_open_matrix(self, limit: int) -> Sequence[RunId]:
        """Runs in which a matrix is not expanded yet."""


class Jobs(Protocol):
    def add(self, job: Job) -> None: ...
    def get(self, job: JobId) -> Job | None: ...
    def lock(self, job: JobId) -> Job | None: ...
    def of_run(self, run: RunId) -> Sequence[Job]:
        """In order of `ordinal`."""

    def lock_asked(self, job: JobId, session: SessionId) -> tuple[Job, Asker | None] | None:
        """The job, locked, and the runner of that session, if there is one. None: there is no such job."""

    def lock_all(self, jobs: Collection[JobId], whole: Collection[JobId]) -> Mapping[JobId, Job]:
        """These jobs, and all of the runs that those of `whole` are of, locked by id: those there are."""

    def lock_of_run(self, run: RunId) -> Sequence[Job]:
        """All of the run, locked by id, given in order of `ordinal`."""

    def lock_with_run(self, job: JobId) -> Job | None:
        """The job, and with it all of its run locked by id: for what may begin or end others of them."""

    def of_ended_runs(self, jobs: Sequence[JobId]) -> Sequence[JobId]:
        """Those of `jobs` whose run has ended, or is not there any more."""

    def add_waits(self, run: RunId, job: JobId, more: Sequence[JobId]) -> None:
        """Who waits for `job` waits for these as well."""

    def is_at_work(self, job: JobId) -> bool:
        """Is it queued or running by now?"""

    def begin_again(self, job: Job, origin: Origin | None) -> bool:
        """From an end back to `pending`, as if it were yet to come, with that origin; its epoch stays."""

    def ask_cancel(self, job: Job) -> bool:
        """Note that its end was asked for; False where it was before, or has come."""

    def move(self, job: Job, to: JobStatus, *, reason: Reason | None = None) -> bool:
        """From `job.status` in `job.epoch`; sets the time that belongs to `to`."""

    def begin(self, job: Job, queue: str, after_s: float = 0.0) -> Epoch | None:
        """To `queued`: next epoch, no holder, an empty journal, an outbox row. None if it moved on.

        `queue` is the Redis list it is to be published to, in `after_s` seconds. What was begun is told at
        commit, unless it is to wait.
        """

    def claim(self, job: Job, runner: str, session: SessionId) -> bool:
        """To `running` held by that session, with a fresh lease; nothing ingested yet. Not while it, or the
        runner, is paused.
        """

    def advance(
        self, job: JobId, epoch: Epoch, from_seq: int, to_seq: int, *, last_seq: int | None = None
    ) -> bool:
        """What was ingested, and `last_seq` where the journal's last record was among it."""

    def settleable(self, limit: int) -> Sequence[tuple[JobId, Epoch]]:
        """Running, with everything ingested: settle was missed."""

    def queued_counts(self) -> Mapping[str, int]:
        """How many queued jobs the outbox has for each Redis list, of those whose time has come and that are
        not paused.
        """


class Stages(Protocol):
    def add(self, stages: Iterable[Stage]) -> None: ...
    def of_job(self, job: JobId) -> Sequence[Stage]:
        """In order of `ordinal`."""

    def of_run(self, run: RunId) -> Sequence[Stage]: ...
    def move(self, stage: Stage, to: StageStatus, *, reason: Reason | None = None) -> bool:
        """From `stage.status`; one that is to begin again (`pending`) has set no outputs."""

    def begin(self, stage: Stage, attempt: Attempt) -> bool:
        """From `stage.status` to `running`, with that new attempt; neither where the job has a live one."""

    def end(self, stage: Stage, to: StageStatus, ended: Ended, *, reason: Reason | None) -> bool:
        """End an attempt as `end_attempt` does, and move its stage as `move` does; whether it was moved."""

    def begin_again(self, stage: Stage) -> bool:
        """From an end back to `pending`: it has set no outputs, and nobody has approved or cancelled it."""

    def ask_cancel(self, stage: Stage, actor: str) -> bool:
        """Note who asked for the end of this stage; False where it has ended or was asked for before."""

    def make_room(self, run: RunId, ordinal: int, count: int) -> None:
        """Move the stages behind that place on by so many."""

    def become(self, stage: Stage, copy: Stage) -> None:
        """Give a stage that has not begun the key, name and spec of its first copy."""

    def note_approval(self, stage: Stage, actor: str) -> None: ...
    def expired(self, limit: int) -> Sequence[tuple[RunId, StageId]]:
        """Stages that wait for a person for longer than they may."""

    def superseded(self, limit: int) -> Sequence[tuple[RunId, StageId]]:
        """Stages that wait for a person in a run of which a newer one of its pipeline has passed."""

    def start_attempt(self, attempt: Attempt) -> bool: ...
    def end_attempt(
        self,
        stage: StageId,
        number: int,
        epoch: Epoch,
        status: AttemptStatus,
        *,
        reason: Reason | None,
        exit_code: int | None,
        error: Mapping[str, Any] | None,
    ) -> bool:
        """From `running` only."""

    def add_lines(self, stage: StageId, number: int, lines: int) -> None: ...
    def live_attempts(self, job: JobId) -> Sequence[Attempt]: ...
    def overdue(self, grace_s: float) -> Sequence[JobId]:
        """Running jobs with an attempt that has run for longer than its stage's timeout and the grace."""

    def outputs(self, run: RunId) -> Mapping[str, Any]:
        """By name; a later stage's value stands for an earlier one's."""

    def output_lists(self, run: RunId) -> Mapping[str, Sequence[Any]]:
        """By name, all values that copies of a matrix set, in the order of the copies."""

    def set_output(self, run: RunId, stage: StageKey, name: str, value: Any) -> None: ...
    def copy_outputs(self, origin: RunId, run: RunId, stages: Sequence[StageKey]) -> None:
        """What those stages set in one run they have set in the other."""



class Leases(Protocol):
    def renew(self, job: JobId, epoch: Epoch, session: SessionId) -> bool: ...
    def note_begun(
        self, job: JobId, epoch: Epoch, session: SessionId, stage: StageKey, attempt: int
    ) -> None:
        """The holder says that it has begun this attempt. Saying it again changes nothing."""

    def begun(self, job: JobId, epoch: Epoch) -> Sequence[tuple[StageKey, int]]:
        """Attempts that the holder said to have begun in this epoch, in order."""

    def late(self, older_than_s: float) -> Sequence[Lease]:
        """Of jobs that run in the lease's epoch, oldest first."""

    def note_help(self, job: JobId, epoch: Epoch, age_s: float) -> None:
        """Its runner was asked to publish again; by the first asking the lease is `age_s` old at most."""
