"""A pause: no job of a pipeline, a queue or a runner begins until it is taken back; what runs goes on."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

MOST_REASON = 500


class Paused(StrEnum):
    """What is paused. Of a pipeline only runs of which nothing has begun wait."""

    PIPELINE = "pipeline"
    QUEUE = "queue"
    RUNNER = "runner"


@dataclass(frozen=True, slots=True)
class Pause:
    """`target` is the id of the pipeline, or the name of the queue or runner; `why` is for people."""

    kind: Paused
    target: str
    why: str
    actor: str
    since: datetime
