"""What the spooler says of its runner while Redis is away."""

import contextlib
import json
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

from rivet.client import ApiProblem, ApiUnreachable
from rivet.domain.errors import Unavailable
from rivet.domain.ids import Epoch, JobId, SessionId
from rivet.domain.record import RecordType, unpack
from rivet.domain.runner import KeepingRule
from rivet.journal.spool import Spool
from rivet.runner.folder import JobFolder
from rivet.runner.journal import Journal
from rivet.runner.pause_note import PauseNote
from rivet.runner.spooler import Spooler


@dataclass
class Api:
    """Hears heartbeats, and asks for a job to be published again."""

    again: list[tuple[JobId, int]] = field(default_factory=list)
    over: list[JobId] = field(default_factory=list)
    beats: list[dict[str, Any]] = field(default_factory=list)
    trouble: Exception | None = None
    paused: bool = False

    def call(self, _method: str, _path: str, body: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:
        self.beats.append(body)
        if self.trouble is not None:
            raise self.trouble
        again = [{"job": str(job), "epoch": epoch} for job, epoch in self.again]
        return {"drain": False, "publish_again": again, "let_go": [str(job) for job in self.over],
                "paused": self.paused}  # fmt: skip


@dataclass
class Stream:
    """Redis as the spooler sees it; `away` is how it does not answer."""

    away: bool = False
    ahead: int = 1
    sent: list[bytes] = field(default_factory=list)
    said: list[float] = field(default_factory=list)

    def say_cut_off(self, for_s: float) -> None:
        self._answer()
        self.said.append(for_s)

    def expected(self, keys: Any) -> dict[Any, int]:
        self._answer()
        return dict.fromkeys(keys, self.ahead)

    def forget(self, _job: JobId, _epoch: Epoch) -> None:
        self._answer()

    def waiting(self, _queue: str) -> int:
        self._answer()
        return 3

    def send(self, packed: Any) -> int:
        self._answer()
        self.sent += packed
        return 0

    def _answer(self) -> None:
        if self.away:
            raise Unavailable("Redis is away")


@pytest.fixture
def job(tmp_path) -> JobId:
    made = JobId(uuid4())
    folder = JobFolder(tmp_path, made)
    folder.path.mkdir()
    (folder.path / "order.1.json").write_text(json.dumps({}))
    return made


def spooler(tmp_path, api: Api, stream: Stream, publish_again: Any = lambda *_: None) -> Spooler:
    return Spooler(
        runner="runner", session=SessionId(uuid4()), jobs=tmp_path, slots=2, lease_s=0.0, client=api,
        stream=stream, publish_again=publish_again, drain=lambda: None, pause=PauseNote(tmp_path).write,
        keeping=KeepingRule(86400.0, 10**9),
    )


def test_a_runner_whose_redis_is_away_lives_holds_what_it_has_and_takes_nothing(tmp_path, job):
    api = Api()
    spooler(tmp_path, api, Stream(away=True)).look()
    assert api.beats[0]["holds"] == [str(job)]
    assert (api.beats[0]["free_slots"], api.beats[0]["own_queue"]) == (0, 0)


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        (ApiUnreachable("nobody listens"), True),
        (ApiProblem(503, "unavailable", "PostgreSQL is away"), True),
        (ApiProblem(422, "invalid", "no such field"), False),
        (None, False),
    ],
)
def test_a_runner_that_no_api_answers_says_so_over_redis(tmp_path, trouble, says):
    stream = Stream()
    of_runner = spooler(tmp_path, Api(trouble=trouble), stream)
    of_runner.lease_s = 0.01
    of_runner.look()
    assert stream.said == ([0.01] if says else [])
    stream.away = True
    time.sleep(0.01)
    of_runner.look()  # both are away: it goes on


def test_what_the_api_says_of_a_pause_stands_in_the_runners_folder_until_it_says_otherwise(tmp_path):
    api = Api(paused=True)
    of_runner, note = spooler(tmp_path, api, Stream()), PauseNote(tmp_path)
    of_runner.look()
    assert note.is_there()
    api.trouble = ApiUnreachable("nobody listens")
    of_runner.look()
    assert note.is_there()
    api.trouble, api.paused = None, False
    of_runner.look()
    assert not note.is_there()


def test_a_job_whose_journal_is_in_is_not_held(tmp_path, job):
    api = Api()
    spooler(tmp_path, api, Stream()).look()
    assert api.beats[0]["holds"] == []
    assert (api.beats[0]["free_slots"], api.beats[0]["own_queue"]) == (2, 3)


def test_what_cannot_be_published_again_is_held_and_tried_until_it_is(tmp_path, job):
    api = Api(again=[(job, 1)])
    tried: list[tuple[JobId, Epoch]] = []

    def publish_again(which: JobId, epoch: Epoch) -> None:
        tried.append((which, epoch))
        if len(tried) < 3:
            raise Unavailable("the broker took no chain")

    of_runner = spooler(tmp_path, api, Stream(), publish_again)
    of_runner.look()
    api.again = []
    of_runner.look()
    assert api.beats[1]["holds"] == [str(job)]
    of_runner.look()
    of_runner.look()
    assert tried == [(job, 1)] * 3
    assert api.beats[-1]["holds"] == []


def test_the_folder_of_a_job_that_is_to_be_begun_again_stays_until_it_is_or_its_run_has_ended(tmp_path, job):
    folder = JobFolder(tmp_path, job)
    spool = Spool(folder.spool(Epoch(1)))
    Journal(job, Epoch(1), spool, Stream()).record(RecordType.JOB_DONE, data={"again": True})
    spool.close()
    api = Api()
    of_runner = spooler(tmp_path, api, Stream(ahead=2))
    for _ in range(3):
        of_runner.look()
    assert folder.path.exists()
    assert (api.beats[-1]["holds"], api.beats[-1]["keeps"]) == ([], [str(job)])
    (folder.path / "order.2.json").write_text(json.dumps({}))
    of_runner.look()
    assert (folder.epochs(), api.beats[-1]["keeps"]) == ([2], [])


def test_the_folder_of_a_job_that_was_begun_again_elsewhere_goes_when_its_run_has_ended(tmp_path, job):
    spool = Spool(JobFolder(tmp_path, job).spool(Epoch(1)))
    Journal(job, Epoch(1), spool, Stream()).record(RecordType.JOB_DONE, data={"again": True})
    spool.close()
    spooler(tmp_path, Api(over=[job]), Stream(ahead=2)).look()
    assert not JobFolder(tmp_path, job).path.exists()


def test_what_was_in_already_is_sent_again_where_redis_forgot_that_it_was(tmp_path, job):
    with contextlib.closing(Spool(JobFolder(tmp_path, job).spool(Epoch(1)), offset=0, seq=0)) as spool:
        journal = Journal(job, Epoch(1), spool, Stream())
        for _ in range(2):
            journal.record(RecordType.SUMMARY, data={"markdown": "done"})
    api, stream = Api(), Stream(ahead=3)
    of_runner = spooler(tmp_path, api, stream)
    of_runner.look()
    of_runner.look()
    assert (stream.sent, api.beats[-1]["holds"]) == ([], [])
    stream.ahead = 1
    of_runner.look()
    of_runner.look()
    assert [unpack(packed).seq for packed in stream.sent] == [1, 2]
    stream.ahead = 3
    of_runner.look()
    assert api.beats[-1]["holds"] == []
