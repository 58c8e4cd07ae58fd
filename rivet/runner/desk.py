"""A slot's desk: what the work on a job needs of its runner."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rivet.client import Client
from rivet.domain.errors import Unavailable
from rivet.domain.ids import Epoch, JobId, SessionId, StageKey
from rivet.domain.limits import Limits
from rivet.domain.stage import CancelScope
from rivet.journal.stream import StreamWriter
from rivet.modules.registry import Modules
from rivet.runner.folder import JobFolder
from rivet.runner.reach import ReachPolicy
from rivet.runner.tools import ToolRoots
from rivet.runner.uids import StageUids
from rivet.sandbox.lua import Zygote

PublishChain = Callable[[JobId, Epoch, Sequence[tuple[StageKey, str]], str], None]
"""job, epoch, stages as (key, name) in order, and the run as people call it."""


@dataclass(frozen=True, slots=True)
class Desk:
    """`jobs` is the folder of all jobs' folders; `zygote` makes the Lua children of this slot; `modules` are
    what their scripts may call, `limits` the operator's. `kept_bytes` bounds what is kept for reruns of how
    stages find their workspaces; 0: nothing."""

    runner: str
    session: SessionId
    jobs: Path
    client: Client
    stream: StreamWriter
    lease_s: float
    tools: ToolRoots
    reach: ReachPolicy
    uids: StageUids
    isolation: str
    zygote: Zygote
    modules: Modules
    limits: Limits
    publish_chain: PublishChain
    kept_bytes: int = 0

    def folder(self, job: JobId) -> JobFolder:
        return JobFolder(self.jobs, job)

    def stream_says_cancelled(self, job: JobId, epoch: Epoch, stage: StageKey) -> CancelScope | None:
        """Was run or stage cancelled? Not known while Redis is away: the lease's answer will tell."""
        try:
            return self.stream.is_cancelled(job, epoch, stage)
        except Unavailable:
            return None
