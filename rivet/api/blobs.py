"""The runner's way to blobs, with a job's ticket: it never speaks to where they are stored.

Pieces are sent and fetched one by one, each named by its SHA-256, so that whoever was interrupted goes on
with the piece that was on its way.
"""

from typing import Annotated, Any

from apiflask import APIBlueprint
from flask import Response, request
from pydantic import Field
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.routing import BaseConverter

from rivet.api.auth import ticket_for
from rivet.api.body import MOST_NUMBER, RunnerBody
from rivet.api.desk import the_web
from rivet.api.operation import refuses, takes_bytes
from rivet.api.runner_protocol import job_of
from rivet.api.told import BlobTerms, CacheKept, CacheTold, ContentsTold, FilesKept, PiecesMissing
from rivet.blobs.piece import MOST_PACKED
from rivet.domain.artifact import Contents
from rivet.domain.blob import PIECE_BYTES
from rivet.domain.cache import MOST_FALLBACKS
from rivet.domain.errors import Conflict, Fenced, InvalidInput
from rivet.domain.ids import Epoch, JobId, SessionId, StageKey
from rivet.engine.find_artifact import find_artifact
from rivet.engine.find_cache import find_cache, has_cache
from rivet.engine.held_job import held_job
from rivet.engine.keep_artifact import keep_artifact
from rivet.engine.keep_cache import keep_cache
from rivet.engine.keep_files import keep_files
from rivet.engine.keep_piece import keep_piece, missing_pieces
from rivet.engine.keep_snapshot import keep_snapshot

blobs = APIBlueprint("blobs", __name__, tag="Runner protocol", url_prefix="/runner/jobs/<job>/blobs")

_MIB = 1024 * 1024
_BINARY: Any = {"schema": {"type": "string", "format": "binary"}}
_BYTES: Any = {"200": {"description": "The bytes", "content": {"application/octet-stream": _BINARY}}}


Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Pieces(RunnerBody):
    digests: list[Digest] = Field(max_length=1000)


class Uploaded(RunnerBody):
    stage: str = Field(max_length=200)
    attempt: int = Field(ge=1, le=MOST_NUMBER)
    contents: dict[str, Any]


class Left(RunnerBody):
    contents: dict[str, Any]


class Kept(RunnerBody):
    contents: dict[str, Any]
    paths: dict[str, str] = Field(description="The digest of each file's content by its path.")


class Wanted(RunnerBody):
    run: str | None = Field(default=None, max_length=200, description="Another run of the same project.")


class CacheSaved(RunnerBody):
    key: str
    contents: dict[str, Any]


class CacheWanted(RunnerBody):
    key: str
    fallback: list[str] = Field(default_factory=list, max_length=MOST_FALLBACKS)
    only_look: bool = Field(default=False, description="Is the very key there? Nothing else is told.")


class DigestConverter(BaseConverter):
    """The part of a path that is a SHA-256."""

    regex = "[0-9a-f]{64}"


def _holder(job: str) -> tuple[JobId, Epoch, SessionId]:
    ticket = ticket_for(job_of(job))
    return ticket.job, ticket.epoch, ticket.session


@blobs.get("")
@refuses(Fenced)
@blobs.output(BlobTerms)
@blobs.doc(operation_id="read_blob_terms", summary="Read the sizes that are kept to", security="ticket")
def terms(job: str) -> Any:
    settings = the_web().settings
    _holder(job)
    return {
        "piece_bytes": PIECE_BYTES,
        "most_artifact_bytes": settings.artifact_mib * _MIB,
        "most_cache_bytes": settings.cache_mib * _MIB,
        "most_snapshot_bytes": settings.snapshot_mib * _MIB,
    }


@blobs.post("/pieces/missing")
@refuses(Fenced)
@blobs.input(Pieces)
@blobs.output(PiecesMissing)
@blobs.doc(operation_id="find_missing_pieces", summary="Ask which pieces must be sent", security="ticket")
def look_for_pieces(job: str, json_data: Pieces) -> Any:
    return {"missing": missing_pieces(*_holder(job), json_data.digests, store=the_web().store)}


@blobs.put("/pieces/<digest:digest>")
@refuses(Fenced, InvalidInput)
@takes_bytes("application/octet-stream")
@blobs.output({}, status_code=204)
@blobs.doc(operation_id="put_piece", summary="Send a piece, packed with zstd", security="ticket")
def put_piece(job: str, digest: str) -> Any:
    web = the_web()
    holder = _holder(job)
    request.max_content_length = MOST_PACKED
    packed = request.get_data(cache=False)
    if len(packed) > MOST_PACKED:
        raise RequestEntityTooLarge
    keep_piece(*holder, digest, packed, store=web.store, blobs=web.blobs)
    return "", 204


@blobs.get("/pieces/<digest:digest>")
@refuses(Fenced, InvalidInput)
@blobs.doc(
    operation_id="get_piece",
    summary="Fetch a piece, packed with zstd",
    security="ticket",
    responses=_BYTES,
)
def get_piece(job: str, digest: str) -> Any:
    web = the_web()
    holder = _holder(job)
    with web.store.begin() as tx:
        _, run = held_job(*holder, tx)
    return Response(web.blobs.packed(run.project_id, digest), mimetype="application/octet-stream")


@blobs.put("/artifacts/<name>")
@refuses(Fenced, Conflict)
@blobs.input(Uploaded)
@blobs.output({}, status_code=204)
@blobs.doc(
    operation_id="put_artifact",
    summary="Keep an artifact whose pieces have been sent",
    security="ticket",
)
def put_artifact(job: str, name: str, json_data: Uploaded) -> Any:
    web = the_web()
    keep_artifact(
        *_holder(job),
        StageKey(json_data.stage),
        json_data.attempt,
        name,
        Contents.read(json_data.contents),
        most_bytes=web.settings.artifact_mib * _MIB,
        store=web.store,
    )
    return "", 204


@blobs.get("/artifacts/<name>")
@refuses(Fenced, Conflict)
@blobs.input(Wanted, location="query")
@blobs.output(ContentsTold)
@blobs.doc(operation_id="get_artifact", summary="Read what an artifact consists of", security="ticket")
def get_artifact(job: str, name: str, query_data: Wanted) -> Any:
    web = the_web()
    holder = _holder(job)
    with web.store.begin() as tx:
        _, own = held_job(*holder, tx)
    of_run = None if query_data.run is None else web.runs.find(query_data.run, own.project)
    return find_artifact(*holder, name, of_run, store=web.store).contents.as_dict()


@blobs.post("/caches")
@refuses(Fenced)
@blobs.input(CacheSaved)
@blobs.output(CacheKept)
@blobs.doc(
    operation_id="put_cache",
    summary="Keep a cache whose pieces have been sent, unless its key is there",
    security="ticket",
)
def put_cache(job: str, json_data: CacheSaved) -> Any:
    web = the_web()
    kept = keep_cache(
        *_holder(job),
        json_data.key,
        Contents.read(json_data.contents),
        most_bytes=web.settings.cache_mib * _MIB,
        store=web.store,
    )
    return {"kept": kept}


@blobs.post("/caches/find")
@refuses(Fenced)
@blobs.input(CacheWanted)
@blobs.output(CacheTold)
@blobs.doc(
    operation_id="find_cache",
    summary="Find a cache by its key, else by the beginning of one",
    security="ticket",
)
def get_cache(job: str, json_data: CacheWanted) -> Any:
    web = the_web()
    holder = _holder(job)
    if json_data.only_look:
        is_there = has_cache(*holder, json_data.key, store=web.store)
        return {"is_there": is_there, "key": None, "contents": None}
    found = find_cache(*holder, json_data.key, json_data.fallback, store=web.store)
    if found is None:
        return {"is_there": False, "key": None, "contents": None}
    return {"is_there": True, "key": found.key, "contents": found.contents.as_dict()}


@blobs.put("/snapshot")
@refuses(Fenced)
@blobs.input(Left)
@blobs.output({}, status_code=204)
@blobs.doc(
    operation_id="put_snapshot",
    summary="Keep the workspace that the job leaves, whose pieces have been sent",
    security="ticket",
)
def put_snapshot(job: str, json_data: Left) -> Any:
    web = the_web()
    keep_snapshot(
        *_holder(job),
        Contents.read(json_data.contents),
        most_bytes=web.settings.snapshot_mib * _MIB,
        store=web.store,
    )
    return "", 204


@blobs.put("/kept/<stage>")
@refuses(Fenced)
@blobs.input(Kept)
@blobs.output(FilesKept)
@blobs.doc(
    operation_id="put_kept_files",
    summary="Keep what a stage hands on, unless it conflicts in its group",
    security="ticket",
)
def put_kept(job: str, stage: str, json_data: Kept) -> Any:
    web = the_web()
    conflict = keep_files(
        *_holder(job),
        StageKey(stage),
        Contents.read(json_data.contents),
        json_data.paths,
        most_bytes=web.settings.snapshot_mib * _MIB,
        store=web.store,
    )
    return {"conflict": None if conflict is None else {"path": conflict.path, "stage": conflict.other}}
