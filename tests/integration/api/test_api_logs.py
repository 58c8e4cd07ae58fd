"""Logs and events over HTTP, of runs whose records the test writes as ingest would."""

import http.client
import json
import os
import threading
import time
from dataclasses import dataclass, field
from uuid import UUID

import pytest
import zstandard

from rivet.client import Client
from rivet.domain.log import Chunk, Mark, encode_line
from rivet.domain.record import ControlEvent, Record, RecordType
from rivet.domain.states import RunStatus
from rivet.journal.tail import TailPublisher

AT = "2026-01-02T03:04:05.600000Z"


@dataclass
class Writer:
    """Writes a run's records as ingest does."""

    store: object
    run: dict
    seq: dict = field(default_factory=dict)

    @property
    def run_id(self):
        return UUID(self.run["id"])

    @property
    def job_id(self):
        return UUID(self.run["stages"][0]["job"])

    def log(self, stage, first, texts, attempt=1, late=False, epoch=1, body=None, header=None):
        chunk = Chunk(first, texts, [Mark(0, AT, "stdout")])
        packed = zstandard.ZstdCompressor(level=1).compress(chunk.body()) if body is None else body
        self.put(RecordType.LOG, stage, attempt, header or chunk.header(), packed, late, epoch)

    def put(self, kind, stage=None, attempt=None, data=None, body=b"", late=False, epoch=1):
        self.seq[epoch] = self.seq.get(epoch, 0) + 1
        record = Record(self.job_id, epoch, self.seq[epoch], AT, kind, stage, attempt, data or {}, body)
        with self.store.begin() as tx:
            tx.records.append(self.run_id, [record], late=late)

    def end(self, status=RunStatus.CANCELLED):
        with self.store.begin() as tx:
            run = tx.runs.lock(self.run_id)
            tx.runs.move(run, status)
            ended = {"status": status, "reason": None, "lines": run.lines}
            tx.records.append(self.run_id, [(ControlEvent.RUN_ENDED, ended)])


@pytest.fixture
def written(api, store):
    return Writer(store, api.start())


def logs(api, writer, query=""):
    answer = api.ask("GET", f"/runs/{writer.run['id']}/logs{query}")
    assert answer.status == 200, answer.body
    return answer.body


def test_a_log_is_read_whole_by_stage_from_a_line_and_from_its_end(api, written):
    for first in range(1, 100, 10):
        written.log("build", first, [f"b{number}" for number in range(first, first + 10)])
    written.log("test", 1, ["t1", "t2", "t3"])
    every = [f"b{number}" for number in range(1, 101)] + ["t1", "t2", "t3"]
    assert logs(api, written).decode().splitlines() == every
    assert logs(api, written, "?stage=test").decode().splitlines() == ["t1", "t2", "t3"]
    assert logs(api, written, "?tail=5").decode().splitlines() == every[-5:]
    assert logs(api, written, "?tail=0") == b""
    assert logs(api, written, "?tail=14").decode().splitlines() == every[-14:]
    assert logs(api, written, "?from_line=95").decode().splitlines() == every[94:]
    assert logs(api, written, "?from_line=91&stage=build").decode().splitlines() == every[90:100]
    assert logs(api, written, "?from_line=1000") == b""
    assert logs(api, written, "?attempt=2") == b""


def test_a_log_as_ndjson_has_each_line_s_place(api, written):
    written.log("build", 1, ["one", "two"])
    told = [json.loads(line) for line in logs(api, written, "?format=ndjson").splitlines()]
    assert told[1] == {
        "stage": "build", "attempt": 1, "line": 2, "at": AT, "stream": "stdout", "level": None, "text": "two",
    }


def test_raw_gives_the_very_bytes(api, written):
    raw = b"\x1b[31mred\x1b[0m \xff\x00 \xef\x9c\x80"
    written.log("build", 1, [encode_line(raw), "plain"])
    assert logs(api, written, "?raw=1") == raw + b"\nplain\n"


def test_a_damaged_chunk_is_told_and_the_rest_is_read(api, written):
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(200 * 1024 * 1024))
    written.log("build", 1, ["one"])
    written.log("build", 2, ["x", "y"], body=b"not zstd")
    written.log("build", 4, ["z"], body=bomb)
    written.log("build", 5, ["z"], header={"first": None, "count": "many"})
    written.log("build", 6, ["six"])
    told = logs(api, written).decode().splitlines()
    assert (told[0], told[-1], len(told)) == ("one", "six", 6)
    assert all("cannot be read" in line for line in told[1:-1])
    assert logs(api, written, "?tail=2").decode().splitlines() == told[-2:]


@pytest.mark.parametrize("query", ["?tail=1&from_line=2", "?tail=-1", "?format=xml", "?raw=1&format=ndjson"])
def test_a_query_that_makes_no_sense_is_refused(api, written, query):
    answer = api.ask("GET", f"/runs/{written.run['id']}/logs{query}")
    assert (answer.status, answer.json["code"]) == (422, "invalid_input")


def test_an_unknown_stage_is_named_with_those_there_are(api, written):
    answer = api.ask("GET", f"/runs/{written.run['id']}/logs?stage=deploy")
    assert answer.status == 404
    assert "build, test" in answer.json["detail"]


def test_a_big_log_is_streamed_with_bounded_memory(api, written):
    worker = _worker_of(api)
    line = os.urandom(500).hex()
    for part in range(60):
        written.log("build", 1 + part * 120, [line] * 120)
    before = _rss(worker)
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=30)
    connection.request(
        "GET", f"/api/v1/runs/{written.run['id']}/logs", headers={"Authorization": f"Bearer {api.token}"}
    )
    response = connection.getresponse()
    size = 0
    while piece := response.read(65536):
        size += len(piece)
    assert size == 60 * 120 * 1001
    assert _rss(worker) - before < 20 * 1024


def _worker_of(api):
    with open(f"/proc/{api.process.pid}/task/{api.process.pid}/children") as file:
        return int(file.read().split()[0])


def _rss(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def follow(api, run, last=""):
    return list(Client(f"http://127.0.0.1:{api.port}", api.token).events(run["id"], last))


def test_the_events_of_a_run_come_in_order_and_end(api, written):
    written.put(RecordType.JOB_CLAIMED)
    written.put(RecordType.ATTEMPT_STARTED, "build", 1)
    written.log("build", 1, ["one", "two"])
    written.put(
        RecordType.ATTEMPT_ENDED, "build", 1,
        {"status": "failed", "reason": None, "exit_code": 3, "error": {"message": "no"}},
    )
    written.put(RecordType.STAGE_SKIPPED, "test", None, {"reason": "earlier_failure"})
    written.end()
    got = follow(api, written.run)
    kinds = [(event.type, event.data.get("status")) for event in got]
    assert kinds == [
        ("state", "queued"), ("state", "queued"), ("state", "running"), ("log", None), ("state", "failed"),
        ("state", "skipped"), ("end", None),
    ]
    assert got[3].data == {
        "stage": "build", "attempt": 1, "first_line": 1,
        "lines": [
            {"at": AT, "stream": "stdout", "level": None, "text": "one"},
            {"at": AT, "stream": "stdout", "level": None, "text": "two"},
        ],
    }
    assert got[4].data["exit_code"] == 3
    assert (got[-1].data["run"]["status"], got[-1].data["lines"]) == ("cancelled", 2)
    ids = [int(event.id) for event in got]
    assert ids == sorted(set(ids))


def test_a_stream_resumes_without_a_gap_or_a_repeat(api, written):
    for first in range(1, 80):
        written.log("build", first, [f"line {first}"])
    written.end()
    got = follow(api, written.run)
    for cut in (0, 1, 40, len(got) - 2):
        assert follow(api, written.run, got[cut].id) == got[cut + 1 :]


def test_nothing_follows_the_end(api, written):
    written.end()
    last = follow(api, written.run)[-1]
    written.log("build", 1, ["late"], late=True, epoch=2)
    answer = api.ask("GET", f"/runs/{written.run['id']}/events", Last_Event_ID=last.id)
    assert (answer.status, answer.body) == (204, b"")
    assert follow(api, written.run)[-1] == last


def test_a_place_that_is_none_is_refused(api, written):
    answer = api.ask("GET", f"/runs/{written.run['id']}/events", Last_Event_ID="yesterday")
    assert (answer.status, answer.json["code"]) == (422, "invalid_input")


def test_live_lines_arrive_at_once_and_lost_ones_are_read_from_the_database(api, written, redis_url):
    got, arrived = [], []

    def watch():
        for event in Client(f"http://127.0.0.1:{api.port}", api.token).events(written.run["id"]):
            got.append(event)
            arrived.append(time.monotonic())

    watcher = threading.Thread(target=watch)
    watcher.start()
    deadline = time.monotonic() + 10
    while not got and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    tail = TailPublisher(redis_url)
    told = []
    written.store.on_commit = lambda committed: told.extend(committed.entries)
    sent = []
    for number in range(1, 11):
        written.log("build", number, [f"line {number}"])
        if number % 3:
            sent.append(time.monotonic())
            tail.publish(told[-1:])
    written.end()
    watcher.join(20)
    written.store.on_commit = None
    texts = [event.data["lines"][0]["text"] for event in got if event.type == "log"]
    assert texts == [f"line {number}" for number in range(1, 11)]
    assert got[-1].type == "end"


def test_streams_are_bounded_and_the_rest_of_the_api_goes_on(api, serve, database_url, redis_url, written):
    small = serve(database_url, redis_url, threads=4)
    path = f"/api/v1/runs/{written.run['id']}/events"
    headers = {"Authorization": f"Bearer {api.token}"}
    streams = []
    for _ in range(3):
        connection = http.client.HTTPConnection("127.0.0.1", small.port, timeout=10)
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        assert response.status == 200
        response.readline()
        streams.append((connection, response))
    refused = small.ask("GET", path)
    assert (refused.status, refused.json["code"]) == (503, "too_many_streams")
    assert refused.headers["Retry-After"]
    assert small.ask("GET", "/runs").status == 200
    for connection, response in streams:
        response.close()
        connection.close()
    deadline = time.monotonic() + 10
    while small.ask("HEAD", path).status == 503:
        assert time.monotonic() < deadline
        time.sleep(0.1)
