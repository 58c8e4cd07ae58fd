"""Ports: one that was asked for is had or refused, a default one gives way."""

import socket
from collections.abc import Iterator

import pytest

from rivet.local.ports import PortTaken, choose_port


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_port_that_was_asked_for_is_refused_if_taken(taken: int) -> None:
    with pytest.raises(PortTaken, match=f"port {taken} cannot be used.*--port 0 for any free one"):
        choose_port(taken, 8080, option="--port")


def test_a_default_port_in_use_gives_way_to_the_next_free_one(taken: int) -> None:
    assert taken < choose_port(None, taken, option="--port") < taken + 100


def test_zero_is_any_free_port(taken: int) -> None:
    assert choose_port(0, taken, option="--port") not in (0, taken)


def test_one_port_is_not_had_twice() -> None:
    free = choose_port(0, 0, option="--port")
    with pytest.raises(PortTaken, match="it was given twice"):
        choose_port(free, 5555, option="--flower-port", avoid=(free,))
    assert choose_port(None, free, option="--flower-port", avoid=(free,)) > free
