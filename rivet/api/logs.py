"""A run's log, streamed: as text, as the very bytes, or as one JSON object a line."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal
from uuid import UUID

from apiflask import APIBlueprint
from flask import Response
from pydantic import Field, model_validator

from rivet.api.auth import needs_admin
from rivet.api.desk import the_web
from rivet.api.expired import refuse_expired_log
from rivet.api.operation import refuses
from rivet.api.runs import InProject
from rivet.domain.errors import Conflict, Expired, NotFound
from rivet.domain.ids import RunId
from rivet.domain.log import decode_line
from rivet.store.read_records import Block, Wanted

logs = APIBlueprint("logs", __name__, tag="Runs")

_WRITE_AT = 64 * 1024
_ANSWERS: Any = {
    "200": {
        "description": "The log",
        "content": {
            "text/plain": {"schema": {"type": "string"}},
            "application/x-ndjson": {"schema": {"type": "string"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


class Part(InProject):
    """Which part of the log, and how."""

    stage: str | None = Field(default=None, max_length=200, description="A stage's key.")
    attempt: int | None = Field(default=None, ge=1, le=10_000)
    format: Literal["text", "ndjson"] = "text"
    tail: int | None = Field(default=None, ge=0, le=10_000_000, description="The last lines only.")
    from_line: int | None = Field(default=None, ge=1, le=2**40, description="From this line on, from 1.")
    raw: Literal["0", "1"] = Field(default="0", description="The bytes as they were written.")

    @model_validator(mode="after")
    def _one_of_each(self) -> "Part":
        if self.tail is not None and self.from_line is not None:
            raise ValueError("tail and from_line exclude each other")
        if self.raw == "1" and self.format != "text":
            raise ValueError("raw goes with text alone")
        return self


@logs.get("/runs/<run>/logs")
@needs_admin
@refuses(Conflict, Expired)
@logs.input(Part, location="query")
@logs.doc(
    operation_id="read_log",
    summary="Read a run's log as it is now",
    security="bearer",
    responses=_ANSWERS,
)
def read(run: str, query_data: Part) -> Response:
    web = the_web()
    found = web.runs.find(run, query_data.project)
    shown = web.runs.one(found, web.base_url)
    keys = [stage["key"] for stage in shown["stages"]]
    if query_data.stage is not None and query_data.stage not in keys:
        raise NotFound(f'the run has no stage "{query_data.stage}"; its stages: {", ".join(keys)}')
    ran_in = _ran_in(found, shown, query_data.stage)
    refuse_expired_log(web.runs.logs_expired_at(ran_in))
    blocks = web.records.log(
        Wanted(ran_in, query_data.stage, query_data.attempt, query_data.from_line, query_data.tail)
    )
    if query_data.raw == "1":
        return Response(_gathered(_bytes(blocks)), mimetype="application/octet-stream")
    if query_data.format == "ndjson":
        return Response(_gathered(_objects(blocks)), mimetype="application/x-ndjson")
    return Response(_gathered(_texts(blocks)), mimetype="text/plain")


def _ran_in(run: RunId, shown: Mapping[str, Any], key: str | None) -> RunId:
    """The run that has the log of that stage: another one where the stage stands in a rerun as it ended.

    Raises NotFound where that run is not there any more.
    """
    stage = next((each for each in shown["stages"] if each["key"] == key), None)
    origin = None if stage is None else stage["from_run"]
    if origin is None:
        return run
    if origin["number"] is None:
        raise NotFound(
            f'stage "{key}" ran in the run {origin["id"]}, of which this one is a rerun; that run has been '
            "deleted, and its logs with it"
        )
    return RunId(UUID(origin["id"]))


def _texts(blocks: Iterator[Block]) -> Iterator[bytes]:
    for block in blocks:
        yield ("\n".join(block.texts) + "\n").encode()


def _bytes(blocks: Iterator[Block]) -> Iterator[bytes]:
    for block in blocks:
        # The line feeds between are no escapes, so that all lines are decoded at once.
        yield decode_line("\n".join(block.texts)) + b"\n"


def _objects(blocks: Iterator[Block]) -> Iterator[bytes]:
    for block in blocks:
        where: dict[str, Any] = {"stage": block.stage, "attempt": block.attempt}
        late = {"late": True} if block.late else {}
        for line in block.lines:
            told = where | {
                "line": line.number,
                "at": line.at,
                "stream": line.stream,
                "level": line.level,
                "text": line.text,
            }
            yield json.dumps(told | late, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """In pieces that are worth a write of their own."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        if len(waiting) >= _WRITE_AT:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)
