"""A stage whose pipeline accepts no less than this runner's level of isolation does not begin on it."""

from types import SimpleNamespace
from uuid import uuid4

from rivet.domain.ids import Epoch, JobId, RunId, StageKey
from rivet.domain.order import Grants, Order, OrderedStage
from rivet.domain.states import OnLost
from rivet.runner.attempts import Attempts


def test_a_runner_below_what_a_pipeline_accepts_refuses_its_stages():
    stage = OrderedStage(StageKey("one"), "one", ("stages", 1), 1, 60.0, {}, "pending")
    order = Order(
        job=JobId(uuid4()), run=RunId(uuid4()), epoch=Epoch(1), project="default", pipeline="p", number=1,
        lua="", digest="", inputs={}, outputs={}, facts={}, stages=(stage,), env={}, grants=Grants(), limits={},
        isolation="container", on_lost=OnLost.ERROR, timeout_left_s=60.0,
    )
    recorded = []
    journal = SimpleNamespace(record=lambda type, **more: recorded.append((type, more.get("data"))))
    folder = SimpleNamespace(trouble=lambda: None)
    ended = Attempts(order, stage, SimpleNamespace(isolation="namespaces"), folder, journal).run([])
    assert ended.status == "errored"
    message = recorded[-1][1]["error"]["message"]
    assert 'accepts no isolation below "container", and this runner has "namespaces"' in message
