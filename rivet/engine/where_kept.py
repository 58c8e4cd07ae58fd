"""Where a runner has a workspace that a rerun would begin with, until when, or why it cannot be had."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from rivet.domain.job import Origin
from rivet.engine.left_workspaces import LeftWorkspaces
from rivet.engine.place_job import LIVES
from rivet.engine.ports import Tx


@dataclass(frozen=True, slots=True)
class Kept:
    """On `runner`, until then at the latest; or `gone`, which says why."""

    runner: str | None
    until: datetime | None = None
    gone: str | None = None


def on_runner(origin: Origin, left: LeftWorkspaces, tx: Tx) -> Kept:
    """As far as runners have said."""
    runner = tx.runners.get(origin.runner) if origin.runner is not None else None
    job = tx.jobs.get(origin.job)
    at = None if job is None else job.ended_at
    if runner is None:
        return Kept(None, gone=f"the runner {origin.runner or 'that had it'} is not there any more")
    if job is not None and not left.is_known(origin, job):
        return Kept(runner.name, gone=f"the runner {runner.name} did not keep it")
    if at is None or runner.kept_since is None or at < runner.kept_since:
        return Kept(runner.name, gone=f"the runner {runner.name} has let go of it")
    if runner.status not in LIVES:
        return Kept(runner.name, gone=f"the runner {runner.name} that has it is {runner.status}")
    return Kept(runner.name, None if runner.kept_s is None else at + timedelta(seconds=runner.kept_s))
