"""What is known of a run's workspaces: as its jobs left them, and as stages found them in their midst."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rivet.domain.ids import Epoch, JobId, RunId, StageKey
from rivet.domain.job import Job, Origin
from rivet.engine.ports import Tx

EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class LeftWorkspaces:
    """Of one run, as its runners said in their journals: `empty` or `kept`, by job, epoch and stage."""

    said: Mapping[tuple[JobId, Epoch, StageKey | None], str]

    def by(self, job: Job) -> Origin | None:
        """As the job left it; None where it never ran."""
        if job.origin is not None and job.origin.stage is None:
            return job.origin
        left = job.left
        if left is None:
            return None
        return replace(left, is_empty=self.said.get((job.id, job.epoch, None)) == EMPTY)

    def found_by(self, stage: StageKey, job: Job) -> Origin:
        """As the stage found it, in the last epoch of the job in which it was tried.

        One that was not tried had nothing else than what its job was to begin with.
        """
        tried = [epoch for of, epoch, key in self.said if (of, key) == (job.id, stage)]
        if not tried and job.origin is not None and job.origin.stage == stage:
            return job.origin
        epoch = max(tried, default=job.epoch)
        return Origin(
            job.id, epoch, job.runner, stage, is_empty=self.said.get((job.id, epoch, stage)) == EMPTY
        )

    def is_known(self, origin: Origin) -> bool:
        """Whether a runner has said that it keeps it."""
        return (origin.job, origin.epoch, origin.stage) in self.said


def left_workspaces(run: RunId, tx: Tx) -> LeftWorkspaces:
    """As far as the run's journals tell."""
    return LeftWorkspaces({(one.job, one.epoch, one.stage): one.how for one in tx.records.workspaces(run)})
