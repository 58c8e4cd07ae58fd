"""A runner: a Celery worker that registered with a session, serves queues and beats."""

import re
from dataclasses import dataclass
from datetime import datetime

from rivet.domain.ids import SessionId, TokenId
from rivet.domain.states import RunnerStatus

QUEUE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
RUNNER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


@dataclass(frozen=True, slots=True)
class KeepingRule:
    """How long, and how much in all, is kept of workspaces of runs that have ended."""

    longest_s: float
    most_bytes: int


@dataclass(frozen=True, slots=True)
class Keeping:
    """A runner's word on workspaces: all that jobs left in the last `since_s` seconds are there, each for
    `longest_s` seconds at the most.
    """

    since_s: float
    longest_s: float


@dataclass(frozen=True, slots=True)
class Runner:
    """`queues` are named as users do; `own_queue` is the length of its own Redis list at the last beat.

    Of workspaces it has all that jobs left since `kept_since`, each for `kept_s` seconds at the most; None:
    it has not said so.
    """

    name: str
    session: SessionId
    token_id: TokenId
    status: RunnerStatus
    queues: tuple[str, ...]
    slots: int
    free_slots: int
    own_queue: int
    holds: tuple[str, ...]
    isolation: str
    version: str
    protocol: int
    registered_at: datetime
    seen_at: datetime
    kept_since: datetime | None = None
    kept_s: float | None = None


def own_queue_of(runner: str) -> str:
    """The name of the Redis list that only this runner reads."""
    return f"own:{runner}"


def shared_queue_of(queue: str) -> str:
    """The Redis list of a queue that users name: no name of theirs reaches a list of ours."""
    return f"q:{queue}"
