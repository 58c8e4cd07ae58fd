"""The mend of kombu, on a real Redis: a message is acknowledged though its channel is gone."""

import redis
from kombu import Connection

from rivet.tasks.kombu_mend import mend_kombu


def test_a_message_whose_channel_has_lost_its_transport_is_acknowledged_over_a_connection_of_our_own(redis_url):
    mend_kombu(redis_url)
    client = redis.Redis.from_url(redis_url)
    with Connection(redis_url, transport_options={"unacked_key": "u", "unacked_index_key": "i"}) as connection:
        queue = connection.SimpleQueue("q")
        queue.put("hello")
        message = queue.get(timeout=5)
        assert client.hlen("u") == client.zcard("i") == 1
        channel = message.channel
        transport, channel.connection = channel.connection, None
        channel._disconnect_pools()
        try:
            message.ack()
        finally:
            channel.connection = transport
        assert client.hlen("u") == client.zcard("i") == 0
