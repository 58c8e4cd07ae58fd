"""What a runner says of itself over a real Redis reaches control, and is forgotten when it is not said again."""

import time

import pytest

from rivet.domain.errors import Unavailable
from rivet.journal.stream import Signs, StreamWriter


def test_who_is_cut_off_is_known_until_its_word_is_over(redis_url):
    signs = Signs(redis_url)
    StreamWriter(redis_url, "one").say_cut_off(60)
    StreamWriter(redis_url, "two").say_cut_off(0.05)
    assert signs.cut_off({"one", "three"}) == {"one"}
    assert signs.cut_off(()) == frozenset()
    deadline = time.monotonic() + 5
    while "two" in signs.cut_off({"one", "two"}):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert signs.cut_off({"one", "two"}) == {"one"}


def test_a_redis_that_does_not_answer_is_told(free_port):
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    with pytest.raises(Unavailable):
        Signs(nowhere).cut_off({"one"})
    with pytest.raises(Unavailable):
        StreamWriter(nowhere, "one").say_cut_off(1)
