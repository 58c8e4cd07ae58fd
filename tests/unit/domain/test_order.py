"""An order goes over HTTP as JSON and comes back the same, also from a server that tells more."""

import json
from uuid import UUID

from rivet.domain.ids import Epoch, JobId, RunId, StageKey
from rivet.domain.order import Grants, HandsOn, Order, OrderedStage
from rivet.domain.retry import Retry
from rivet.domain.states import OnLost

STAGE = OrderedStage(
    key=StageKey("build"), name="Build", path=("stages", 1), next_attempt=1, timeout_s=60.0, env={"A": "b"},
    status="pending", retry=Retry(attempts=3, on=("failed", "lost")), allow_failure=(3, 4), keep=("dist/*",),
)  # fmt: skip
ORDER = Order(
    job=JobId(UUID(int=1)), run=RunId(UUID(int=2)), epoch=Epoch(3), project="default", pipeline="demo", number=7,
    lua="return {}", digest="0" * 64, inputs={"who": "Ada"}, outputs={}, facts={"number": 7}, stages=(STAGE,), env={},
    grants=Grants(True, ("db:5432",), ("example.org",)), limits={}, isolation=None, on_lost=OnLost.RESTART,
    timeout_left_s=100.0, ticket="t", secrets=("KEY",), hands_on=HandsOn.STORED,
)  # fmt: skip


def test_an_order_is_read_as_it_was_told():
    assert Order.read(json.loads(json.dumps(ORDER.as_dict()))) == ORDER


def test_what_a_newer_server_tells_besides_is_done_without():
    told = json.loads(json.dumps(ORDER.as_dict()))
    told["of_later"] = {"more": 1}
    told["stages"][0]["of_later"] = "more"
    assert Order.read(told) == ORDER
