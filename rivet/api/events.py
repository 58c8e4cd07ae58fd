"""A run's events as they happen: first what the database has, then what comes live, each once and in order.

The live tail may lose things: every gap in the positions, and every few seconds of silence, are answered by
reading the database, so that a stream is complete also while Redis is away.
"""

import json
import select
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Generator, Iterator
from typing import Any

from apiflask import APIBlueprint
from flask import Response, request

from rivet.api.auth import needs_admin
from rivet.api.desk import the_web
from rivet.api.event import event_of
from rivet.api.expired import refuse_expired_log
from rivet.api.operation import refuses, takes_header
from rivet.api.problems import problem
from rivet.api.runs import InProject
from rivet.domain.errors import Conflict, Expired, InvalidInput, Unavailable
from rivet.domain.ids import RunId
from rivet.domain.record import ControlEvent
from rivet.engine.ports import Entry
from rivet.wiring.web import Web

events = APIBlueprint("events", __name__, tag="Runs")

PAGE = 32
LOOK_AFTER_S = 2.0
WAIT_S = 0.5
PING_S = 15.0
GONE_S = 0.5
MOST_KEPT_BYTES = 8 * 1024 * 1024
_EVENT: Any = {
    "type": "object",
    "description": "One event of the stream; `data` is JSON, and `id` a position in the run.",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string"},
        "event": {"type": "string", "enum": ["state", "log", "annotation", "end"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
_ANSWERS: Any = {
    "200": {"description": "The stream", "content": {"text/event-stream": {"schema": _EVENT}}},
    "204": {"description": "Last-Event-ID is that of the end: nothing follows it"},
}


@events.get("/runs/<run>/events")
@needs_admin
@refuses(Conflict, Expired, codes={503: "too_many_streams"})
@takes_header("Last-Event-ID", "The last id that was read: the stream goes on after it.")
@events.input(InProject, location="query")
@events.doc(
    operation_id="follow_run",
    summary="Follow a run: Server-Sent Events `state`, `log`, `annotation`, `end`",
    security="bearer",
    responses=_ANSWERS,
)
def follow(run: str, query_data: InProject) -> Response:
    web = the_web()
    found = web.runs.find(run, query_data.project)
    web.runs.require(found)
    refuse_expired_log(web.runs.logs_expired_at(found))
    after = _position(request.headers.get("Last-Event-ID", ""))
    end = web.records.end_of(found)
    if end is not None and after >= end:
        return Response(status=204)
    if not web.streams.acquire(blocking=False):
        return problem(
            503, "too_many_streams", "as many streams are open as this server has threads for; try again soon"
        )
    return Response(
        _Stream(web, found, after, request.environ.get("gunicorn.socket")),
        mimetype="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )


def _position(sent: str) -> int:
    if not sent:
        return 0
    if not (sent.isascii() and sent.isdecimal() and len(sent) < 19):
        raise InvalidInput("Last-Event-ID: is none of this stream's ids, which are positions: 0, 1, 2, …")
    return int(sent)


class _Stream:
    """The answer's body. Its place among the streams is given back however it ends, begun or not."""

    def __init__(self, web: Web, run: RunId, after: int, reader: socket.socket | None) -> None:
        self._web = web
        self._pieces = _pieces(web, run, after, reader)
        self._is_open = True

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._pieces.close()
            self._web.streams.release()


def _pieces(web: Web, run: RunId, after: int, reader: socket.socket | None) -> Generator[bytes]:
    """Until `end`, until nobody reads, or until the server closes; then the client comes back."""
    with web.tail.watch(run) as watch:
        spoken = looked = time.monotonic()
        yield b": watching\n\n"
        fresh = _stored(web, run, after)
        seen = spoken
        while not web.closing.is_set():
            if time.monotonic() - seen > GONE_S:
                if _is_gone(reader):
                    return
                seen = time.monotonic()
            for entry in fresh:
                after = entry.pos
                piece = _piece(web, entry)
                if piece:
                    yield piece
                    spoken = time.monotonic()
                if entry.type == ControlEvent.RUN_ENDED.value:
                    return
            if len(fresh) == PAGE:
                fresh = _stored(web, run, after)
                continue
            if time.monotonic() - spoken > PING_S:
                yield b": ping\n\n"
                spoken = time.monotonic()
            live = [entry for entry in watch.get(WAIT_S) if entry.pos > after]
            has_gap = any(entry.pos != after + place for place, entry in enumerate(live, 1))
            if has_gap or (not live and time.monotonic() - looked > LOOK_AFTER_S):
                fresh = _stored(web, run, after)
                looked = time.monotonic()
            else:
                fresh = live


def _is_gone(reader: socket.socket | None) -> bool:
    """Has the client closed? Without asking, a stream on which nothing happens would hold its thread on."""
    if reader is None:
        return False
    try:
        poll = select.poll()
        poll.register(reader, select.POLLIN | select.POLLHUP | select.POLLERR)
        return bool(poll.poll(0)) and reader.recv(1, socket.MSG_PEEK) == b""
    except (OSError, ValueError):
        return True


def _stored(web: Web, run: RunId, after: int) -> list[Entry]:
    """What the database has; nothing while it is away: the stream waits, and the pings go on."""
    try:
        return web.records.after(run, after, PAGE)
    except Unavailable:
        return []


class _Pieces:
    """The newest events as they are sent, so that of many watchers one makes them. Safe among threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._kept: OrderedDict[tuple[RunId, int], bytes] = OrderedDict()
        self._size = 0

    def get(self, run: RunId, pos: int) -> bytes | None:
        return self._kept.get((run, pos))

    def put(self, run: RunId, pos: int, piece: bytes) -> None:
        with self._guard:
            if (run, pos) in self._kept:
                return
            self._kept[run, pos] = piece
            self._size += len(piece)
            while self._size > MOST_KEPT_BYTES:
                self._size -= len(self._kept.popitem(last=False)[1])


_newest = _Pieces()


def _piece(web: Web, entry: Entry) -> bytes:
    piece = _newest.get(entry.run_id, entry.pos)
    if piece is None:
        piece = _made(web, entry)
        _newest.put(entry.run_id, entry.pos, piece)
    return piece


def _made(web: Web, entry: Entry) -> bytes:
    told = event_of(entry)
    if told is None:
        return b""
    kind, data = told
    if kind == "end":
        data = {"run": web.runs.one(entry.run_id, web.base_url), **data}
    packed = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"id: {entry.pos}\nevent: {kind}\ndata: {packed}\n\n".encode()
