"""What a run has kept: its artifacts, listed and downloaded (whole or a range), its tests and coverage."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any
from urllib.parse import quote

from apiflask import APIBlueprint
from flask import Response, request
from pydantic import BaseModel, Field

from rivet.api.auth import needs_admin
from rivet.api.desk import the_web
from rivet.api.operation import refuses, takes_header
from rivet.api.paging import Paged, bad_cursor, page
from rivet.api.problems import problem
from rivet.api.runs import InProject
from rivet.domain.blob import Manifest
from rivet.domain.errors import Conflict, Expired, NotFound
from rivet.domain.ids import ProjectId
from rivet.engine.find_artifact import refuse_expired
from rivet.engine.kept_ports import BlobStore

artifacts = APIBlueprint("artifacts", __name__, tag="Runs")

_BINARY: Any = {"schema": {"type": "string", "format": "binary"}}
_BYTES: Any = {
    "200": {"description": "All of it", "content": {"application/octet-stream": _BINARY}},
    "206": {"description": "The range that was asked for", "content": {"application/octet-stream": _BINARY}},
}


class Page(Paged, InProject):
    """Which page of a run's list."""


class ArtifactShown(BaseModel):
    name: str
    stage: str
    attempt: int
    format: str = Field(description="`file`: the bytes of one; `tar`: of several.")
    filename: str
    files: int
    size: int
    sha256: str | None
    created_at: str
    expired_at: str | None = Field(description="Since when it cannot be downloaded any more.")
    url: str


class ArtifactPage(BaseModel):
    items: list[ArtifactShown]
    next_cursor: str | None


class CaseShown(BaseModel):
    stage: str
    attempt: int
    suite: str
    classname: str
    name: str
    status: str
    seconds: float
    message: str
    details: str
    flaky: bool


class TestCounts(BaseModel):
    tests: int
    failed: int
    errored: int
    skipped: int
    passed: int
    flaky: int


class CoverageShown(BaseModel):
    stage: str
    source: str
    format: str
    lines: int
    covered: int
    line_rate: float


class TestPage(BaseModel):
    counts: TestCounts
    coverage: list[CoverageShown]
    items: list[CaseShown]
    next_cursor: str | None


@artifacts.get("/runs/<run>/artifacts")
@needs_admin
@refuses(Conflict)
@artifacts.input(Page, location="query")
@artifacts.output(ArtifactPage)
@artifacts.doc(operation_id="list_artifacts", summary="List a run's artifacts by name", security="bearer")
def list_all(run: str, query_data: Page) -> dict[str, Any]:
    web = the_web()
    found = web.runs.find(run, query_data.project)
    web.runs.require(found)
    items, following = web.kept.artifacts(found, query_data.after() or "", query_data.limit)
    for item in items:
        item["url"] = f"{web.base_url}/api/v1/runs/{found}/artifacts/{quote(item['name'])}"
    return page(items, following)


@artifacts.get("/runs/<run>/artifacts/<name>")
@needs_admin
@refuses(Conflict, Expired, codes={416: "range_not_satisfiable"})
@takes_header("Range", "One range of bytes, such as `bytes=0-99`.")
@takes_header("If-Range", "The ETag: the range is sent if it is still that.")
@artifacts.input(InProject, location="query")
@artifacts.doc(
    operation_id="download_artifact",
    summary="Download an artifact, or one range of it",
    security="bearer",
    responses=_BYTES,
)
def download(run: str, name: str, query_data: InProject) -> Response:
    web = the_web()
    found = web.runs.find(run, query_data.project)
    with web.store.begin() as tx:
        of_run = tx.runs.get(found)
        artifact = tx.artifacts.get(found, name)
        if of_run is not None and artifact is None:
            refuse_expired(of_run, name, tx)
    if of_run is None or artifact is None:
        raise NotFound(f'the run has no artifact "{name[:100]}"; GET /runs/{found}/artifacts lists them')
    contents = artifact.contents
    answer = _answer(of_run.project_id, contents.blob, web.blobs)
    filename = quote(contents.filename, safe="")
    answer.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{filename}"
    return answer


@artifacts.get("/runs/<run>/tests")
@needs_admin
@refuses(Conflict)
@artifacts.input(Page, location="query")
@artifacts.output(TestPage)
@artifacts.doc(
    operation_id="list_tests",
    summary="List a run's tests, failures first, with counts and coverage",
    security="bearer",
)
def tests(run: str, query_data: Page) -> dict[str, Any]:
    web = the_web()
    found = web.runs.find(run, query_data.project)
    web.runs.require(found)
    after = query_data.after() or "0"
    if not after.isdecimal() or len(after) > 9:
        raise bad_cursor()
    items, following = web.kept.tests(found, int(after), query_data.limit)
    totals = {"counts": web.kept.totals(found), "coverage": web.kept.coverage(found)}
    return totals | page(items, following)


def _answer(project: ProjectId, blob: Manifest, blobs: BlobStore) -> Response:
    """The bytes of a blob, or the range of them that the request asks for."""
    etag = f'"{blob.sha256}"'
    wanted = request.range
    if_range = request.headers.get("If-Range")
    if wanted is None or wanted.units != "bytes" or len(wanted.ranges) != 1 or if_range not in (None, etag):
        first, last, status = 0, blob.size - 1, 200
    else:
        span = wanted.range_for_length(blob.size)
        if span is None:
            why = f"the artifact has {blob.size} bytes; the range is outside of them"
            refused = problem(416, "range_not_satisfiable", why)
            refused.headers["Content-Range"] = f"bytes */{blob.size}"
            return refused
        first, last, status = span[0], span[1] - 1, 206
    body: Iterable[bytes] = ()
    if request.method != "HEAD":
        body = _begun(_bytes(project, blob, first, last, blobs))
    answer = Response(body, status, mimetype="application/octet-stream")
    answer.headers["Content-Length"] = str(last + 1 - first)
    answer.headers["Accept-Ranges"] = "bytes"
    answer.headers["ETag"] = etag
    answer.headers["X-Rivet-SHA256"] = blob.sha256
    if status == 206:
        answer.headers["Content-Range"] = f"bytes {first}-{last}/{blob.size}"
    return answer


def _begun(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The first one is fetched at once: that the store is away can still be said with a status."""
    first = next(pieces, b"")
    return chain((first,), pieces)


def _bytes(project: ProjectId, blob: Manifest, first: int, last: int, blobs: BlobStore) -> Iterator[bytes]:
    """Piece by piece: one of them is in memory, however much is asked for."""
    if last < first:
        return
    for part in blob.parts(first, last):
        yield blobs.piece(project, part.digest)[part.start : part.stop]
