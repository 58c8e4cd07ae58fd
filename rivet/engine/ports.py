"""What the verbs need of the world. Adapters implement these; tests have hand-written fakes.

Every write is guarded by the state it expects and says whether it happened. Locks are taken in one
order: jobs by id, then run clocks by run id.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from rivet.domain.ids import (
    Epoch,
    JobId,
    Path,
    PipelineId,
    ProjectId,
    RunId,
    SessionId,
    StageKey,
    TokenId,
    VersionId,
)
from rivet.domain.job import Job
from rivet.domain.pipeline import Checked
from rivet.domain.record import ControlEvent, Record
from rivet.engine.kept_ports import Answered, Artifacts, Blobs, Caches, Folders, Keeps, Reports, Snapshots
from rivet.engine.pause_ports import Pauses
from rivet.engine.project_ports import Projects
from rivet.engine.retention_ports import Expiry, MovedLogs, RecordDays, Sizes
from rivet.engine.run_ports import Jobs, Leases, Runs, Stages
from rivet.engine.runner_ports import Runners
from rivet.engine.secret_ports import Secrets


@dataclass(frozen=True, slots=True)
class Project:
    id: ProjectId
    slug: str


@dataclass(frozen=True, slots=True)
class Pipeline:
    id: PipelineId
    project_id: ProjectId
    slug: str
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Version:
    """`number` is None where it was never published. `definition` is the evaluated table (`plain_of`)."""

    id: VersionId
    pipeline_id: PipelineId
    number: int | None
    lua: str
    definition: Mapping[str, Any]
    digest: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Published:
    """A published version's id and source."""

    id: VersionId
    lua: str


@dataclass(frozen=True, slots=True)
class Found:
    """A project, and what it has of a slug: the pipeline, and its newest published version."""

    project: Project
    pipeline: Pipeline | None
    newest: Published | None


@dataclass(frozen=True, slots=True)
class Token:
    """Who a token speaks for. `kind` is `admin` or `runner`; a runner's token names its queues."""

    id: TokenId
    kind: str
    name: str
    queues: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in a run's one order, as it is stored and streamed: `pos` counts per run from 1."""

    run_id: RunId
    pos: int
    type: str
    at: str
    job_id: JobId | None = None
    epoch: Epoch | None = None
    seq: int | None = None
    stage: StageKey | None = None
    attempt: int | None = None
    late: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class NotedWorkspace:
    """A runner's word on a workspace: how a `stage` of a job found it, or how the job left it (no stage)."""

    job: JobId
    epoch: Epoch
    stage: StageKey | None
    how: str


@dataclass(frozen=True, slots=True)
class Queued:
    """A job to be published to `queue` (a Redis list's name) in this epoch."""

    job_id: JobId
    epoch: Epoch
    queue: str


@dataclass(slots=True)
class Committed:
    """What a transaction opened, told to the outside after its commit; upkeep covers what gets lost here."""

    queued: list[Queued] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    cancelled: list[tuple[JobId, Epoch, StageKey | None]] = field(default_factory=list)
    turns: list[tuple[ProjectId, str]] = field(default_factory=list)
    reached: list[RunId] = field(default_factory=list)

    def is_empty(self) -> bool:
        return not (self.queued or self.entries or self.cancelled or self.turns or self.reached)


class Pipelines(Protocol):
    def project(self, slug: str) -> Project | None: ...
    def find(self, project: str, slug: str) -> Found | None:
        """The project of that slug, with its pipeline and its newest published version; None without it."""

    def get(self, project: ProjectId, slug: str) -> Pipeline | None: ...
    def add(self, project: ProjectId, slug: str, name: str) -> Pipeline:
        """The pipeline of that slug, made if it is not there; safe against another doing the same."""

    def take_run_number(self, pipeline: PipelineId) -> int: ...
    def add_version(
        self, pipeline: PipelineId, lua: str, definition: Mapping[str, Any], digest: str, *, publish: bool
    ) -> Version:
        """A new version; published ones are numbered from 1 without gaps."""

    def version(self, version: VersionId) -> Version | None: ...
    def published(self, pipeline: PipelineId, number: int | None = None) -> Version | None:
        """The published version of that number, or the newest."""

    def bound(self, pipeline: PipelineId, keep_days: int | None, keep_runs: int | None) -> bool:
        """How long its runs stay, and how many of them; None: as the settings say. False where it is gone."""

    def delete(self, pipeline: PipelineId) -> int:
        """With its versions and runs, unless some of them go on: how many do."""


class Records(Protocol):
    def append(self, run: RunId, entries: Sequence[Record | tuple[ControlEvent, Mapping[str, Any]]], *,
               late: bool = False) -> None:
        """Give each the next position of the run and store it, when the transaction ends; lines of the log
        that are not `late` are counted.

        Control's own events carry `job`, `stage` in their table where it applies. A journal record whose
        (job, epoch, seq) is there already is passed over. All are told at commit.
        """

    def workspaces(self, run: RunId) -> Sequence[NotedWorkspace]:
        """What runners said of the run's workspaces, in order."""


class Outbox(Protocol):
    def unpublished(self, generation: str, limit: int) -> Sequence[Queued]:
        """Of jobs still queued in that epoch: never published, or to another generation of the broker.

        None whose time has not come, or that is paused.
        """

    def of_queue(self, queue: str, limit: int, *, due: bool = False) -> Sequence[Queued]:
        """Everything still queued there, published or not; with `due` if it may begin now."""

    def mark(self, published: Sequence[Queued], generation: str) -> None:
        """These were published to the broker of that generation."""


class Tokens(Protocol):
    def add(self, kind: str, name: str, token_hash: bytes, queues: Sequence[str]) -> Token: ...
    def by_hash(self, token_hash: bytes) -> Token | None:
        """Of tokens that are not revoked."""


class Parts(Protocol):
    def beat(self, name: str, gap_s: float) -> None:
        """The part lives; a silence of more than `gap_s` starts its unbroken time anew."""

    def unbroken(self, prefix: str, for_s: float, gap_s: float) -> bool:
        """Has one part of that prefix beaten without a gap for so long, until now?"""

    def may_drop(self) -> bool:
        """May what is stored be dropped in this transaction? Not while a backup is made."""

    def take_lease(self, name: str, holder: UUID, for_s: float) -> bool:
        """Be the one that does a thing: take it if free or late, renew it if held by `holder`."""


class Tx(Protocol):
    @property
    def projects(self) -> Projects: ...
    @property
    def pipelines(self) -> Pipelines: ...
    @property
    def runs(self) -> Runs: ...
    @property
    def jobs(self) -> Jobs: ...
    @property
    def stages(self) -> Stages: ...
    @property
    def leases(self) -> Leases: ...
    @property
    def runners(self) -> Runners: ...
    @property
    def records(self) -> Records: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def secrets(self) -> Secrets: ...
    @property
    def tokens(self) -> Tokens: ...
    @property
    def parts(self) -> Parts: ...
    @property
    def pauses(self) -> Pauses: ...
    @property
    def blobs(self) -> Blobs: ...
    @property
    def artifacts(self) -> Artifacts: ...
    @property
    def caches(self) -> Caches: ...
    @property
    def snapshots(self) -> Snapshots: ...
    @property
    def keeps(self) -> Keeps: ...
    @property
    def reports(self) -> Reports: ...
    @property
    def folders(self) -> Folders: ...
    @property
    def answered(self) -> Answered: ...
    @property
    def record_days(self) -> RecordDays: ...
    @property
    def expiry(self) -> Expiry: ...
    @property
    def moved_logs(self) -> MovedLogs: ...
    @property
    def sizes(self) -> Sizes: ...
    def now(self) -> datetime:
        """The database's clock, the same throughout the transaction."""

    def tell_reached(self, run: RunId) -> None:
        """After the commit, let the matrices be expanded that the run has reached."""

    def tell_turn(self, project: ProjectId, turn: str) -> None:
        """After the commit, let whose turn it is now begin."""

    def tell_cancelled(self, job: Job, stage: StageKey | None = None) -> None:
        """After the commit, let the job's supervisor know at once: of all of the job, or of one stage.

        What is begun in a later epoch is not cancelled by that.
        """


class Store(Protocol):
    def begin(self) -> AbstractContextManager[Tx]:
        """One transaction: commits at the end, rolls back on an exception. Raises Unavailable."""


class CannotEvaluate(Exception):
    """A function of a pipeline's failed, or could not be asked; the message says why, with its line."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A function at a `path` of the evaluated table, and the recorded values that it may read."""

    source: str
    path: Path
    inputs: Mapping[str, Any]
    run: Mapping[str, Any]
    outputs: Mapping[str, Any]
    env: Mapping[str, str]
    output_lists: Mapping[str, Sequence[Any]]


class Ids(Protocol):
    def uuid(self) -> UUID:
        """A new UUIDv7."""


class Tickets(Protocol):
    def issue(self, job: JobId, epoch: Epoch, session: SessionId, expires_at: float) -> str: ...


class Evaluator(Protocol):
    def check(
        self,
        source: str,
        filename: str = "rivet.lua",
        *,
        inputs: Mapping[str, Any] | None = None,
        run: Mapping[str, Any] | None = None,
    ) -> Checked:
        """Evaluate in a Lua child; with `inputs`, a function for `stages` is called with them."""

    def ask(self, asked: Asked) -> Any:
        """What the function gives. Raises CannotEvaluate, Unavailable."""
