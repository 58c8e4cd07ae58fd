"""Channels of kombu keep their client, on a real Redis, and take another one with another pool."""

from kombu import Connection

from rivet.kombu_clients import share_clients


def test_a_channel_has_one_client_until_it_has_another_pool(redis_url):
    share_clients()
    share_clients()
    with Connection(redis_url) as connection:
        queue = connection.SimpleQueue("q")
        channel = queue.channel
        first = channel._create_client()
        queue.put("hello")
        assert queue.get(timeout=5).decode() == "hello"
        assert channel._create_client() is first
        channel._disconnect_pools()
        second = channel._create_client()
        assert second is not first
        queue.put("again")
        assert queue.get(timeout=5).decode() == "again"
        assert channel._create_client() is second
