"""A mend for kombu 5.7: a worker that holds a late-acknowledged message survives a restart of Redis.

Measured: when Redis refuses connections while a message is held, kombu puts held messages back over a
transport that is closed already, and the worker ends with AttributeError. The messages are still in the
unacknowledged hash, so there is nothing to put back.
"""

from collections.abc import Callable
from typing import Any

from kombu.transport.redis import QoS


def mend_kombu() -> None:
    """Wrap the two methods; a second call changes nothing."""
    mended: Any = QoS
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
            with self.channel.connection.client.clone() as connection:
                client = connection.default_channel.client
                client.zrem(self.unacked_index_key, delivery_tag)
                client.hdel(self.unacked_key, delivery_tag)

    return ack
