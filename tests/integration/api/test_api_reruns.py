"""Reruns over HTTP, of runs whose jobs the test works on as a runner and control would."""

import uuid
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
import zstandard

from rivet.domain.artifact import Contents
from rivet.domain.blob import Manifest
from rivet.domain.ids import Epoch, JobId, RunId, StageKey
from rivet.domain.log import Chunk, Mark
from rivet.domain.record import Record, RecordType
from rivet.domain.report import Case, CaseStatus, Coverage
from rivet.engine.ingest_records import ingest_records
from rivet.engine.settle_job import settle_job

AT = "2026-01-02T03:04:05.600000Z"
NEEDS = """pipeline = { name = "Again", stages = {
  { name = "a", needs = {}, script = function() output.set("word", "said") end },
  { name = "b", needs = { "a" }, script = function() end },
} }
"""


@dataclass
class Worker:
    """Claims jobs of a run by the API, and has what it says of them ingested at once."""

    api: Any
    store: Any
    name: str = field(default_factory=lambda: f"w-{uuid.uuid4().hex[:8]}")

    def __post_init__(self) -> None:
        self.session = self.api.register(self.name)

    def perform(self, run: dict[str, Any], key: str, status: str = "passed", lines: tuple[str, ...] = ()) -> None:
        job = next(stage["job"] for stage in self.shown(run)["stages"] if stage["key"] == key)
        told = {"session": self.session, "epoch": 1, "protocol": 1}
        answer = self.api.as_runner("POST", f"/runner/jobs/{job}/claim", told)
        assert answer.status == 200, answer.body
        said: list[tuple[RecordType, Any, dict[str, Any], bytes]] = [(RecordType.ATTEMPT_STARTED, key, {}, b"")]
        if lines:
            chunk = Chunk(1, list(lines), [Mark(0, AT, "stdout")])
            packed = zstandard.ZstdCompressor(level=1).compress(chunk.body())
            said.append((RecordType.LOG, key, chunk.header(), packed))
        if status == "passed":
            said.append((RecordType.OUTPUT, key, {"name": f"by-{key}", "value": [1, "two"]}, b""))
        said.append((RecordType.ATTEMPT_ENDED, key, {"status": status}, b""))
        said.append((RecordType.JOB_DONE, None, {"workspace": "empty"}, b""))
        records = [
            Record(JobId(UUID(job)), Epoch(1), seq, AT, kind, of, of and 1, data, body)
            for seq, (kind, of, data, body) in enumerate(said, 1)
        ]
        ingest_records(self.name, records, store=self.store)
        settle_job(JobId(UUID(job)), Epoch(1), store=self.store)

    def shown(self, run: dict[str, Any]) -> dict[str, Any]:
        return self.api.ask("GET", f"/runs/{run['id']}").json


@pytest.fixture
def worker(api, store):
    return Worker(api, store)


@pytest.fixture
def failed(api, worker):
    """A run of which `a` passed and `b` failed."""
    run = api.start(NEEDS, "again")
    worker.perform(run, "a", lines=("one", "two"))
    worker.perform(run, "b", "failed")
    assert worker.shown(run)["status"] == "failed"
    return run


def rerun(api, run, status=202, **body):
    answer = api.ask("POST", f"/runs/{run['id']}/rerun", body or None)
    assert answer.status == status, answer.body
    return answer.json


def test_all_of_a_run_is_run_again_as_a_new_run(api, failed):
    answer = api.ask("POST", f"/runs/{failed['id']}/rerun")
    again = answer.json
    assert (answer.status, again["rerun_of"], again["number"]) == (202, failed["id"], failed["number"] + 1)
    assert answer.headers["Location"].endswith(again["id"])
    assert (again["version"], again["actor"], again["trigger"]) == (failed["version"], "alice", "manual")
    assert [(stage["status"], stage["from_run"]) for stage in again["stages"]] == [("pending", None)] * 2


def test_what_passed_stands_with_its_outputs_and_a_link_to_its_log(api, store, worker, failed):
    again = rerun(api, failed, failed=True)
    stands = again["stages"][0]
    assert (stands["status"], stands["reason"], stands["attempts"]) == ("passed", "from_run", [])
    assert stands["from_run"] == {
        "id": failed["id"], "number": failed["number"], "stage": "a",
        "url": f"{again['url'].rpartition('/')[0]}/{failed['id']}",
    }  # fmt: skip
    assert api.ask("GET", f"/runs/{again['id']}/logs?stage=a").body == b"one\ntwo\n"
    with store.begin() as tx:
        assert tx.stages.outputs(RunId(UUID(again["id"]))) == {"by-a": [1, "two"]}
    worker.perform(again, "b")
    assert worker.shown(again)["status"] == "passed"


def test_a_rerun_of_a_rerun_keeps_the_link_to_where_a_stage_really_ran(api, worker, failed):
    again = rerun(api, failed, failed=True)
    worker.perform(again, "b", "failed")
    third = rerun(api, again, failed=True)
    assert (third["rerun_of"], third["stages"][0]["from_run"]["id"]) == (again["id"], failed["id"])


def test_a_log_of_a_run_that_was_deleted_is_said_to_be_gone(api, store, failed):
    again = rerun(api, failed, failed=True)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM run WHERE id = %s", (failed["id"],))
    answer = api.ask("GET", f"/runs/{again['id']}/logs?stage=a")
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert failed["id"] in answer.json["detail"]
    shown = api.ask("GET", f"/runs/{again['id']}").json["stages"][0]["from_run"]
    assert (shown["id"], shown["number"], shown["url"]) == (failed["id"], None, None)


def test_artifacts_kept_files_and_reports_come_along_without_their_bytes(api, store, failed):
    origin = RunId(UUID(failed["id"]))
    contents = Contents("file", "x.txt", "", 1, Manifest(0, "e3" * 32, ()))
    case = Case("suite", "", "works", CaseStatus.PASSED, 0.1, "", "")
    with store.begin() as tx:
        project = tx.runs.get(origin).project_id
        blob = tx.blobs.add(project, contents.blob)
        tx.artifacts.put(origin, "of-a", StageKey("a"), 1, contents, blob)
        tx.artifacts.put(origin, "of-b", StageKey("b"), 1, contents, blob)
        tx.keeps.put(origin, StageKey("a"), contents, {"x.txt": "1"}, blob)
        tx.reports.add_tests(origin, StageKey("a"), 1, 1, [case])
        tx.reports.add_tests(origin, StageKey("b"), 1, 1, [case])
        tx.reports.add_coverage(origin, StageKey("a"), 1, 1, Coverage("a.xml", "cobertura", 4, 3))
    again = rerun(api, failed, failed=True)
    items = api.ask("GET", f"/runs/{again['id']}/artifacts").json["items"]
    assert [(each["name"], each["sha256"]) for each in items] == [("of-a", "e3" * 32)]
    with store.begin() as tx:
        assert tx.keeps.of_run(RunId(UUID(again["id"]))) == {"a": contents}
    tests = api.ask("GET", f"/runs/{again['id']}/tests").json
    assert ([each["stage"] for each in tests["items"]], tests["counts"]["tests"]) == (["a"], 1)
    assert [each["covered"] for each in tests["coverage"]] == [3]


def test_what_a_rerun_would_do_is_told_without_doing_it(api, failed):
    answer = api.ask("POST", f"/runs/{failed['id']}/rerun/plan", {"failed": True})
    assert (answer.status, answer.json["possible"], answer.json["again"]) == (200, True, ["b"])
    assert answer.json["stand"] == [{"stage": "a", "status": "passed", "run": failed["id"]}]
    (logs,) = answer.json["logs"]
    assert (logs["run"], logs["name"], logs["gone"]) == (failed["id"], f"again#{failed['number']}", None)
    assert logs["until"] is not None
    listed = api.ask("GET", "/runs?pipeline=again&limit=1").json["items"]
    assert listed[0]["id"] == failed["id"]


def test_a_plan_says_which_logs_are_gone(api, store, failed):
    again = rerun(api, failed, failed=True)
    api.ask("POST", f"/runs/{again['id']}/cancel")
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM run WHERE id = %s", (failed["id"],))
    (logs,) = api.ask("POST", f"/runs/{again['id']}/rerun/plan", {"failed": True}).json["logs"]
    assert (logs["run"], logs["gone"]) == (failed["id"], "that run has been deleted")


def test_under_an_idempotency_key_a_rerun_is_one_run(api, failed):
    key = uuid.uuid4().hex
    both = [api.ask("POST", f"/runs/{failed['id']}/rerun", {}, Idempotency_Key=key) for _ in range(2)]
    assert both[0].json["id"] == both[1].json["id"]


@pytest.mark.parametrize(
    ("body", "status", "code", "word"),
    [
        ({"from_stage": "nobody"}, 404, "not_found", '"nobody"'),
        ({"failed": True, "stage": "a"}, 422, "invalid_input", "at most one"),
        ({"source": "pipeline = {}"}, 422, "invalid_pipeline", "name"),
        ({"source": NEEDS.replace("Again", "Other")}, 409, "conflict", '"other"'),
        ({"stage": 3}, 422, "invalid_input", "stage"),
        ({"stages": "a"}, 422, "invalid_input", "stages"),
    ],
)
def test_what_cannot_be_rerun_is_refused_and_leaves_nothing(api, failed, body, status, code, word):
    answer = api.ask("POST", f"/runs/{failed['id']}/rerun", body)
    assert (answer.status, answer.json["code"]) == (status, code)
    assert word in answer.body.decode().replace('\\"', '"')
    assert api.ask("GET", "/runs?pipeline=again&limit=1").json["items"][0]["id"] == failed["id"]


def test_a_run_that_passed_and_one_that_goes_on_are_told_apart(api, worker):
    run = api.start(NEEDS, "again")
    assert "goes on" in rerun(api, run, 409)["detail"]
    worker.perform(run, "a")
    worker.perform(run, "b")
    assert "passed" in rerun(api, run, 409, failed=True)["detail"]


def test_an_edited_file_runs_as_an_unpublished_version(api, failed):
    again = rerun(api, failed, failed=True, source=NEEDS.replace("function() end", "function() log.info('x') end"))
    assert again["version"] is None
    assert [stage["status"] for stage in again["stages"]] == ["passed", "pending"]
