"""A mend for kombu 5.7: a worker that holds a late-acknowledged message survives a restart of Redis.

Measured: when Redis refuses connections while a message is held, kombu puts held messages back over a
transport that is closed already, and the worker ends with AttributeError. The messages are still in the
unacknowledged hash, so there is nothing to put back. Acknowledged later, they are on a channel that has no
connection any more: that is done over one of our own.
"""

import logging
from collections.abc import Callable
from typing import Any

import redis
from kombu.transport.redis import QoS

from rivet.redis_link import connect

_log = logging.getLogger(__name__)


def mend_kombu(broker_url: str) -> None:
    """Wrap the two methods; a second call changes nothing but the broker."""
    mended: Any = QoS
    mended.rivet_broker_url = broker_url
    if not getattr(mended, "mended_by_rivet", False):
        mended.restore_unacked = _restore(mended.restore_unacked)
        mended.ack = _ack(mended.ack)
        mended.mended_by_rivet = True


def _restore(original: Callable[..., None]) -> Callable[..., None]:
    def restore_unacked(self: Any, client: Any = None) -> None:
        try:
            original(self, client)
        except AttributeError:
            self._delivered.clear()

    return restore_unacked


def _ack(original: Callable[..., None]) -> Callable[..., None]:
    def ack(self: Any, delivery_tag: str) -> None:
        try:
            original(self, delivery_tag)
        except AttributeError:
            try:
                with connect(self.rivet_broker_url) as client:
                    client.zrem(self.unacked_index_key, delivery_tag)
                    client.hdel(self.unacked_key, delivery_tag)
            except redis.RedisError as away:
                # It is delivered again when this runner starts, which the marks make harmless.
                _log.warning("a message stays unacknowledged: %s", away)

    return ack
