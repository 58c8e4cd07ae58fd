"""What answers look like, for the OpenAPI document: the code that makes them is in `store.read_*`."""

from typing import Any

from pydantic import BaseModel, Field

_SAID_IN = "The run in which it was said, where its stage stands in a rerun; else null."

class AttemptShown(BaseModel):
    number: int
    status: str
    reason: str | None
    exit_code: int | None
    error: dict[str, Any] | None
    runner: str
    started_at: str
    ended_at: str | None
    lines: int


class FromRunShown(BaseModel):
    """Where a stage of a rerun really ran; `number` and `url` are null where that run is gone."""

    id: str
    number: int | None
    stage: str
    url: str | None


class StageShown(BaseModel):
    key: str
    name: str
    job: str
    status: str
    reason: str | None
    waiting_since: str | None
    needs: list[str]
    group: str | None
    queue: str
    runner: str | None
    cancelled_by: str | None
    approved_by: str | None
    approval: dict[str, Any] | None
    from_run: FromRunShown | None
    attempts: list[AttemptShown]


class RunListed(BaseModel):
    id: str
    number: int
    project: str
    pipeline: str
    version: int | None
    status: str
    reason: str | None
    waiting_since: str | None
    trigger: str
    actor: str
    cancelled_by: str | None
    rerun_of: str | None
    isolation: str | None
    inputs: dict[str, Any]
    warnings: list[str]
    created_at: str
    started_at: str | None
    ended_at: str | None
    url: str
    lines: int
    logs_expired_at: str | None = Field(description="Since when its log and events are not kept any more.")
    stages: list[StageShown]


class AnnotationShown(BaseModel):
    stage: str
    attempt: int
    from_run: str | None = Field(description=_SAID_IN)
    level: str
    message: str
    file: str | None
    line: int | None


class SummaryShown(BaseModel):
    stage: str
    attempt: int
    from_run: str | None = Field(description=_SAID_IN)
    markdown: str


class RunShown(RunListed):
    """With what is shown of one run alone: the first 100 annotations, and the last summary of each stage."""

    annotations: list[AnnotationShown]
    summary: list[SummaryShown]


class RunPage(BaseModel):
    items: list[RunListed]
    next_cursor: str | None


class FindingShown(BaseModel):
    line: int
    column: int
    code: str
    message: str
    severity: str


class ProjectShown(BaseModel):
    """`pipelines` is how many it has."""

    name: str
    pipelines: int
    created_at: str


class ProjectPage(BaseModel):
    items: list[ProjectShown]
    next_cursor: str | None


class PauseShown(BaseModel):
    """Why something is paused, by whom and since when."""

    why: str
    actor: str
    since: str


class PipelineShown(BaseModel):
    slug: str
    name: str
    project: str
    version: int | None
    created_at: str
    updated_at: str
    keep_days: int | None = Field(description="How long its runs are kept; null: as the settings say.")
    keep_runs: int | None = Field(description="How many of its runs are kept; null: as the settings say.")
    paused: PauseShown | None


class PipelineWithSource(PipelineShown):
    source: str | None


class PipelinePage(BaseModel):
    items: list[PipelineShown]
    next_cursor: str | None


class SavedShown(PipelineWithSource):
    findings: list[FindingShown]


class CheckedShown(BaseModel):
    valid: bool
    name: str | None
    slug: str | None
    findings: list[FindingShown]


class VersionShown(BaseModel):
    number: int
    digest: str
    created_at: str
    source: str


class VersionPage(BaseModel):
    items: list[VersionShown]
    next_cursor: str | None


class RunnerShown(BaseModel):
    name: str
    status: str
    queues: list[str]
    slots: int
    free_slots: int
    jobs: int
    isolation: str
    version: str
    protocol: int
    registered_at: str
    seen_at: str
    paused: PauseShown | None


class RunnerPage(BaseModel):
    items: list[RunnerShown]
    next_cursor: str | None


class QueueShown(BaseModel):
    """`queued` and `running` count jobs, `runners` those that are online and serve it."""

    name: str
    queued: int
    running: int
    runners: int
    paused: PauseShown | None


class QueuePage(BaseModel):
    items: list[QueueShown]
    next_cursor: str | None


class Resumed(BaseModel):
    """`published` is how many jobs that had waited are published at once."""

    published: int


class DrainAsked(BaseModel):
    name: str
    status: str


class TokenMade(BaseModel):
    """The only time that the token is told."""

    token: str
    kind: str
    name: str
    queues: list[str]
