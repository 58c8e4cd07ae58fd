"""What runners are told, for the OpenAPI document: the answers of the runner protocol."""

from typing import Any, Literal

from pydantic import BaseModel, Field


class SessionTold(BaseModel):
    session: str = Field(description="What the runner names itself by from now on.")


class JobToPublish(BaseModel):
    job: str
    epoch: int


class BeatTold(BaseModel):
    drain: bool = Field(description="Finish what is held, take nothing new, and end.")
    publish_again: list[JobToPublish] = Field(description="Jobs the rest of whose chain is to be published.")
    let_go: list[str] = Field(description="Jobs from whose workspaces nobody will start any more.")
    paused: bool = Field(description="Take nothing new until this is told to be false.")


class OrderTold(BaseModel):
    """A job's order and its ticket: everything that is needed to execute it, without secrets."""

    job: str
    run: str
    epoch: int
    project: str
    pipeline: str
    number: int
    lua: str
    digest: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    facts: dict[str, Any]
    stages: list[dict[str, Any]]
    env: dict[str, str]
    grants: dict[str, Any]
    limits: dict[str, Any]
    isolation: str | None
    on_lost: str
    timeout_left_s: float
    ticket: str = Field(description="Bearer token of the job's own operations.")
    protocol: int
    secrets: list[str] | None
    start: dict[str, Any] | None
    hands_on: str
    brings: list[dict[str, Any]]
    output_lists: dict[str, list[Any]]
    folder: "BlobTold | None"


class LeaseTold(BaseModel):
    state: Literal["ok", "cancelled", "fenced"]
    scope: str
    ingested_seq: int = Field(description="How far the job's journal has been taken in.")


class SecretTold(BaseModel):
    base64: str


class BlobTerms(BaseModel):
    piece_bytes: int
    most_artifact_bytes: int
    most_cache_bytes: int
    most_snapshot_bytes: int


class PiecesMissing(BaseModel):
    missing: list[str]


class BlobTold(BaseModel):
    size: int
    sha256: str
    pieces: list[str]


class ContentsTold(BaseModel):
    form: str
    filename: str
    root: str
    files: int
    blob: BlobTold


class CacheKept(BaseModel):
    kept: bool = Field(description="False where its key was there already.")


class CacheTold(BaseModel):
    is_there: bool
    key: str | None = Field(description="The key that was found, which may be a longer one.")
    contents: ContentsTold | None


class KeepConflictTold(BaseModel):
    path: str
    stage: str


class FilesKept(BaseModel):
    conflict: KeepConflictTold | None


class Alive(BaseModel):
    status: Literal["ok"]


class Ready(BaseModel):
    status: Literal["ready"]
