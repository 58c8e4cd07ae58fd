"""A job's folder keeps the order that came last, however often it is asked for."""

from dataclasses import replace
from uuid import uuid4

import pytest

from rivet.domain.ids import Epoch, JobId, RunId
from rivet.domain.order import Grants, Order
from rivet.domain.states import OnLost
from rivet.runner.folder import JobFolder


@pytest.fixture
def order() -> Order:
    return Order(
        job=JobId(uuid4()), run=RunId(uuid4()), epoch=Epoch(1), project="default", pipeline="p", number=1,
        lua="", digest="", inputs={"a": [1, {"b": None}]}, outputs={}, facts={}, stages=(), env={},
        grants=Grants(network_hosts=("example.org",)), limits={}, isolation=None, on_lost=OnLost.ERROR,
        timeout_left_s=60.0, ticket="first",
    )  # fmt: skip


def test_an_order_is_had_as_it_came(order, tmp_path):
    folder = JobFolder(tmp_path, order.job)
    assert folder.order(Epoch(1)) is None
    folder.write_order(order)
    assert folder.order(Epoch(1)) == folder.order(Epoch(1)) == order
    assert folder.order(Epoch(2)) is None


def test_an_order_that_took_the_place_of_another_is_the_one_that_is_had(order, tmp_path):
    folder = JobFolder(tmp_path, order.job)
    for ticket in ("first", "second", "third"):
        folder.write_order(replace(order, ticket=ticket))
        again = JobFolder(tmp_path, order.job).order(Epoch(1))
        assert again is not None
        assert again.ticket == ticket


def test_a_folder_that_is_gone_has_no_order(order, tmp_path):
    folder = JobFolder(tmp_path, order.job)
    folder.write_order(order)
    assert folder.order(Epoch(1)) is not None
    folder.remove()
    assert folder.order(Epoch(1)) is None
