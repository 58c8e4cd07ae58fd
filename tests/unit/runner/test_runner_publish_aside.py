"""Chains are published beside the heartbeat, each until it is out."""

import threading
from uuid import UUID

import pytest

from rivet.domain.errors import Unavailable
from rivet.domain.ids import Epoch, JobId
from rivet.runner.publish_aside import PublishAside

JOB = JobId(UUID("01890a5d-ac96-774b-bcce-b302099a8057"))


class Broker:
    """Takes a chain when it is let, or refuses it."""

    def __init__(self, *, refusals: int = 0) -> None:
        self.lets, self.refusals = threading.Event(), refusals
        self.asked = 0

    def publish(self, job: JobId, epoch: Epoch) -> None:
        assert self.lets.wait(5)
        self.asked += 1
        if self.asked <= self.refusals:
            raise Unavailable("the broker is away")


def calls_until_done(publish: PublishAside) -> int:
    for call in range(1, 2000):
        try:
            publish(JOB, Epoch(1))
        except Unavailable:
            threading.Event().wait(0.005)
        else:
            return call
    raise AssertionError("it is never done")


def test_whoever_asks_waits_for_nothing_and_hears_when_it_is_done():
    broker = Broker()
    publish = PublishAside(broker.publish)
    for _ in range(3):
        with pytest.raises(Unavailable):
            publish(JOB, Epoch(1))
    assert broker.asked == 0
    broker.lets.set()
    calls_until_done(publish)
    assert broker.asked == 1


def test_what_the_broker_refused_is_published_with_a_later_call():
    broker = Broker(refusals=2)
    broker.lets.set()
    calls_until_done(PublishAside(broker.publish))
    assert broker.asked == 3
