"""A runner: a Celery worker that registered with a session, serves queues and beats."""

import re
from dataclasses import dataclass
from datetime import datetime

from rivet.domain.ids import SessionId, TokenId
from rivet.domain.states import RunnerStatus

QUEUE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
RUNNER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


@dataclass(frozen=True, slots=True)
class Runner:
    """`queues` are named as users do; `own_queue` is the length of its own Redis list at the last beat."""

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


def own_queue_of(runner: str) -> str:
    """The name of the Redis list that only this runner reads."""
    return f"own:{runner}"


def shared_queue_of(queue: str) -> str:
    """The Redis list of a queue that users name: no name of theirs reaches a list of ours."""
    return f"q:{queue}"
