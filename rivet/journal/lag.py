"""How far control is behind: what waits in runners' streams, and for how long."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from rivet.domain.errors import Unavailable
from rivet.redis_link import connect, stream_of

LAG_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Lag:
    """Entries not taken in, and the seconds for which the oldest has waited."""

    entries: int
    oldest_s: float


class LagReader:
    def __init__(self, broker_url: str) -> None:
        self._redis: redis.Redis = connect(broker_url, timeout_s=LAG_TIMEOUT_S)

    def lags(self, runners: Sequence[str]) -> Mapping[str, Lag]:
        """Of each runner, in one round trip. Raises Unavailable where Redis does not answer in 2 s."""
        try:
            pipe = self._redis.pipeline(transaction=False)
            pipe.time()
            for runner in runners:
                pipe.xlen(stream_of(runner))
                pipe.xrange(stream_of(runner), count=1)
            (seconds, micros), *told = pipe.execute()
        except (redis.RedisError, OSError) as error:
            raise Unavailable(f"Redis does not tell how long journals are: {error}") from error
        now = float(seconds) + float(micros) / 1e6
        return {
            runner: Lag(int(length), _age(first, now))
            for runner, length, first in zip(runners, told[::2], told[1::2], strict=True)
        }


def _age(first: Sequence[Any], now: float) -> float:
    if not first:
        return 0.0
    millis, _, _ = first[0][0].decode().partition("-")
    return max(0.0, now - int(millis) / 1000)
