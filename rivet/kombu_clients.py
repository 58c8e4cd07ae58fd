"""One Redis client a channel of kombu, which makes one for every command otherwise.

A client holds nothing but its pool of connections, and making it costs as much as several commands, for it
copies a hundred callbacks. What it gives: `docs/performance.md`.
"""

from collections.abc import Callable
from typing import Any

from kombu.transport.redis import Channel


def share_clients() -> None:
    """For every channel of this process. A second call changes nothing."""
    shared: Any = Channel
    if not getattr(shared, "shares_clients", False):
        shared._create_client = _shared(shared._create_client)
        shared.shares_clients = True


def _shared(original: Callable[..., Any]) -> Callable[..., Any]:
    def create_client(self: Any, asynchronous: bool = False) -> Any:
        if asynchronous:
            return original(self, asynchronous)
        known = self.__dict__.get("shared_client")
        if known is None or known.connection_pool is not self.pool:
            # A channel that lost Redis takes a new pool.
            known = self.shared_client = original(self)
        return known

    return create_client
