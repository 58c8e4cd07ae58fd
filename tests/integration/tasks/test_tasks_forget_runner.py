"""A runner that is forgotten leaves nothing in Redis, and what is others' stays."""

from rivet.dispatch import Dispatch
from rivet.domain.retention import KEYS, line_of
from rivet.domain.runner import own_queue_of
from rivet.journal.stream import StreamWriter
from rivet.redis_link import ack_of, connect, stream_of


def test_all_keys_of_a_runner_go_with_it(redis_url):
    with connect(redis_url) as client:
        for runner in ("gone", "here"):
            StreamWriter(redis_url, runner).send([b"record"])
            client.hset(ack_of(runner), "job:1", 2)
            client.lpush(own_queue_of(runner), "message")
            for kind in ("unacked", "unacked_index", "unacked_mutex"):
                client.set(f"{kind}:{runner}", "x")
        client.set("rivet:generation", "g")
        before = {key.decode() for key in client.scan_iter()}
        assert stream_of("gone") in before
        Dispatch(redis_url).forget_runner("gone")
        left = {key.decode() for key in client.scan_iter()}
    assert before - left == {key for key in before if key.endswith(":gone")}
    assert len(before - left) == 6
    assert all(line_of(key, KEYS) for key in before)
