"""One Redis stream a runner: what it writes, what control reads, and how far control has come."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import redis

from rivet.domain.errors import Unavailable
from rivet.domain.ids import Epoch, JobId, StageKey
from rivet.domain.stage import CancelScope
from rivet.redis_link import ack_of, cancel_key, connect, cut_off_of, stream_of

MAX_WAITING = 48
"""Entries of a stream beyond which log writers wait: what a quiet stage says then stands behind 6 MiB of a
flood at most."""


def ack_field(job: JobId, epoch: Epoch) -> str:
    return f"{job}:{epoch}"


class StreamWriter:
    """A runner's end. Raises Unavailable where Redis does not answer within its bound."""

    def __init__(self, broker_url: str, runner: str, *, timeout_s: float = 2.0) -> None:
        self._redis: redis.Redis = connect(broker_url, timeout_s=timeout_s)
        self._stream, self._ack, self._cut_off = stream_of(runner), ack_of(runner), cut_off_of(runner)

    def send(self, packed: Sequence[bytes]) -> int:
        """Append records; how many entries wait in the stream now."""
        try:
            pipe = self._redis.pipeline(transaction=False)
            for one in packed:
                pipe.xadd(self._stream, {"r": one})
            pipe.xlen(self._stream)
            return int(pipe.execute()[-1])
        except redis.RedisError as error:
            raise Unavailable(f"Redis took no journal records: {error}") from error

    def length(self) -> int:
        """How many entries control has not taken in."""
        try:
            return int(self._redis.xlen(self._stream))
        except redis.RedisError as error:
            raise Unavailable(f"Redis does not tell the length of the journal: {error}") from error

    def expected(self, keys: Iterable[tuple[JobId, Epoch]]) -> dict[tuple[JobId, Epoch], int]:
        """For each journal the seq that control waits for; what it has said nothing of is absent."""
        wanted = list(keys)
        if not wanted:
            return {}
        try:
            told = self._redis.hmget(self._ack, [ack_field(*key) for key in wanted])
        except redis.RedisError as error:
            raise Unavailable(f"Redis does not say how far control has come: {error}") from error
        return {key: int(seq) for key, seq in zip(wanted, told, strict=True) if seq is not None}

    def forget(self, job: JobId, epoch: Epoch) -> None:
        try:
            self._redis.hdel(self._ack, ack_field(job, epoch))
        except redis.RedisError as error:
            raise Unavailable(f"Redis did not let go of an acknowledgement: {error}") from error

    def say_cut_off(self, for_s: float) -> None:
        """This runner lives, and its API does not answer it: true for so many seconds, unless said again."""
        try:
            self._redis.set(self._cut_off, "1", px=max(1, int(for_s * 1000)))
        except redis.RedisError as error:
            raise Unavailable(f"Redis did not take a runner's word: {error}") from error

    def waiting(self, queue: str) -> int:
        try:
            return int(self._redis.llen(queue))
        except redis.RedisError as error:
            raise Unavailable(f"Redis does not tell the length of {queue}: {error}") from error

    def is_cancelled(self, job: JobId, epoch: Epoch, stage: StageKey) -> CancelScope | None:
        """Whether the end of the job's run was asked for, or of this stage alone, in this epoch."""
        try:
            run, alone = cast(list[Any], self._redis.mget(cancel_key(job), cancel_key(job, stage)))
            return "run" if _is_of(run, epoch) else "stage" if _is_of(alone, epoch) else None
        except redis.RedisError as error:
            raise Unavailable(f"Redis does not say whether a job was cancelled: {error}") from error


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries of one runner's stream, oldest first; `last_id` is behind all of them."""

    runner: str
    last_id: bytes
    packed: tuple[bytes, ...]


class Signs:
    """What runners say of themselves over Redis, for control."""

    def __init__(self, broker_url: str) -> None:
        self._redis: redis.Redis = connect(broker_url)

    def cut_off(self, runners: Collection[str]) -> frozenset[str]:
        """Those that live, and say that their API does not answer them. Raises Unavailable."""
        names = sorted(runners)
        if not names:
            return frozenset()
        try:
            told: Any = self._redis.mget([cut_off_of(name) for name in names])
        except redis.RedisError as error:
            raise Unavailable(f"Redis does not say which runners are cut off: {error}") from error
        return frozenset(name for name, said in zip(names, told, strict=True) if said is not None)


class StreamReader:
    """Control's end. It keeps no cursor but in memory: what was taken in is deleted from the stream,
    and reading something twice is harmless."""

    def __init__(self, broker_url: str) -> None:
        self._redis: redis.Redis = connect(broker_url)
        self._after: dict[str, bytes] = {}

    def read(self, runners: Sequence[str], *, count: int, wait_ms: int) -> list[Batch]:
        """Up to `count` entries of each stream, waiting at most `wait_ms` for the first."""
        streams: Any = {stream_of(runner): self._after.get(runner, b"0-0") for runner in runners}
        try:
            answer: Any = self._redis.xread(streams, count=count, block=wait_ms)
        except redis.RedisError as error:
            self._after.clear()
            raise Unavailable(f"the journal in Redis cannot be read: {error}") from error
        found = answer.items() if isinstance(answer, dict) else answer or []
        return [self._batch(stream, entries) for stream, entries in found if entries]

    def _batch(self, stream: bytes | str, entries: Any) -> Batch:
        name = stream.decode() if isinstance(stream, bytes) else stream
        entries = entries[0] if entries and isinstance(entries[0], list) else entries
        packed = tuple(fields.get(b"r", b"") for _, fields in entries)
        return Batch(name.removeprefix("journal:"), entries[-1][0], packed)

    def done(self, batch: Batch, expected: Mapping[tuple[JobId, Epoch], int]) -> None:
        """The batch is in the database: tell how far each journal is, and drop what was read."""
        try:
            pipe = self._redis.pipeline(transaction=False)
            if expected:
                told: Any = {ack_field(*key): seq for key, seq in expected.items()}
                pipe.hset(ack_of(batch.runner), mapping=told)
            stream = stream_of(batch.runner)
            pipe.xtrim(stream, minid=_behind(batch.last_id), approximate=False)
            pipe.execute()
        except redis.RedisError as error:
            self._after.clear()
            raise Unavailable(f"the journal in Redis cannot be trimmed: {error}") from error
        self._after[batch.runner] = batch.last_id

    def forget(self) -> None:
        """Read every stream from its beginning again: after the database was away, or another read them."""
        self._after.clear()


def _behind(last_id: bytes) -> str:
    millis, _, count = last_id.decode().partition("-")
    return f"{millis}-{int(count) + 1}"


def _is_of(cancelled: bytes | str | None, epoch: Epoch) -> bool:
    """Whether what was cancelled is this epoch, or comes after it."""
    return cancelled is not None and int(cancelled) >= epoch
