"""The lease as the runner keeps it: what is asked of control before something begins."""

import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from rivet.client import ApiProblem, ApiUnreachable
from rivet.domain.ids import Epoch, JobId, RunId, StageKey
from rivet.domain.order import Grants, Order
from rivet.domain.states import OnLost
from rivet.runner.folder import JobFolder, now_s
from rivet.runner.lease import LeaseKeeper, is_still_ours

LEASE_S = 2.0


@dataclass
class Api:
    """Answers renewals with what it is told to: states, or errors to raise; the last stands for all after."""

    answers: list[Any]
    asked: list[dict[str, Any]] = field(default_factory=list)

    def call(self, _method: str, _path: str, body: dict[str, Any], headers: Any = None) -> dict[str, Any]:
        self.asked.append(body)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return {"state": answer, "ingested_seq": 0}


@pytest.fixture
def order() -> Order:
    return Order(
        job=JobId(uuid4()), run=RunId(uuid4()), epoch=Epoch(1), project="default", pipeline="p", number=1,
        lua="", digest="", inputs={}, outputs={}, facts={}, stages=(), env={}, grants=Grants(), limits={},
        isolation=None, on_lost=OnLost.ERROR, timeout_left_s=60.0,
    )


@pytest.fixture
def folder(tmp_path, order) -> JobFolder:
    made = JobFolder(tmp_path, order.job)
    made.path.mkdir()
    return made


def desk(api: Api) -> Any:
    stream = SimpleNamespace(is_cancelled=lambda _job, _epoch, _stage: None)
    return SimpleNamespace(client=api, stream=stream, lease_s=LEASE_S)


def keeper(order: Order, folder: JobFolder, api: Api) -> LeaseKeeper:
    return LeaseKeeper(
        order, StageKey("one"), 1, desk(api), folder, now_s() + 60,
        each_beat=lambda: None, on_stop=lambda _reason: None,
    )


def test_nothing_is_asked_while_controls_word_is_fresh(order, folder):
    api = Api(["fenced"])
    folder.note_lease(order.epoch, now_s())
    assert is_still_ours(order, folder, desk(api))
    assert api.asked == []


def test_who_slept_through_the_lease_asks_before_it_begins_anything(order, folder):
    folder.note_lease(order.epoch, now_s() - LEASE_S)
    assert not is_still_ours(order, folder, desk(Api(["fenced"])))
    assert not is_still_ours(order, folder, desk(Api([ApiProblem(409, "fenced", "another has it")])))
    assert is_still_ours(order, folder, desk(Api(["ok"])))
    assert folder.lease_age_s(order.epoch) < LEASE_S / 2


def test_an_api_that_is_away_is_waited_for(order, folder):
    api = Api([ApiUnreachable("away"), "ok"])
    assert is_still_ours(order, folder, desk(api))
    assert len(api.asked) == 2


def test_what_must_not_happen_twice_waits_until_control_knows_that_the_attempt_has_begun(order, folder):
    api = Api([ApiUnreachable("away"), "ok"])
    with keeper(order, folder, api) as lease:
        lease.assure()
        assert lease.stopped() is None
    assert api.asked[:2] == [{"epoch": 1, "stage": "one", "attempt": 1}] * 2
    assert folder.lease_age_s(order.epoch) < LEASE_S


def test_a_short_attempt_that_starts_nothing_asks_nobody(order, folder):
    api = Api(["ok"])
    folder.note_lease(order.epoch, now_s())
    others = set(threading.enumerate())  # those of an attempt before this one may be on their way out
    with keeper(order, folder, api):
        assert {"lease", "cancel"} & {thread.name for thread in set(threading.enumerate()) - others} == set()
    assert api.asked == []


def test_nobody_waits_for_a_word_that_will_not_come(order, folder):
    with keeper(order, folder, Api(["fenced"])) as lease:
        lease.assure()
        assert lease.stopped() == "fenced"


def test_a_job_is_held_while_a_slot_has_it_in_hand(folder):
    assert not folder.is_held()
    folder.note_busy()
    assert folder.is_held()
    folder.note_idle()
    assert not folder.is_held()
