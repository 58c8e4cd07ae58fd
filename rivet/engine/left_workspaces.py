"""What is known of workspaces of ended jobs: as they were left, and as stages found them in their midst."""

from collections.abc import Mapping
from dataclasses import replace

from rivet.domain.ids import Epoch, JobId, RunId, StageKey
from rivet.domain.job import Job, Origin
from rivet.domain.stage import Stage
from rivet.engine.ports import Tx

EMPTY = "empty"

_Said = Mapping[tuple[JobId, Epoch, StageKey | None], str]


class LeftWorkspaces:
    """As runners said in their journals: `empty` or `kept`, by job, epoch and stage. Of one transaction."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self._known: dict[RunId, _Said] = {}

    def by(self, job: Job) -> Origin | None:
        """As the job left it; None where it never ran."""
        if job.origin is not None and job.origin.stage is None:
            return job.origin
        left = job.left
        if left is None:
            return None
        return replace(left, is_empty=self._said(job.run_id).get((job.id, job.epoch, None)) == EMPTY)

    def found_by(self, stage: Stage, job: Job) -> Origin:
        """As the stage of the job found it, where it really ran, in the last epoch in which it was tried.

        One that was not tried had nothing else than what its job was to begin with.
        """
        if stage.from_run is not None:
            return self._found_elsewhere(stage, stage.from_run, job)
        said = self._said(job.run_id)
        tried = [epoch for of, epoch, key in said if (of, key) == (job.id, stage.key)]
        if not tried and job.origin is not None and job.origin.stage == stage.key:
            return job.origin
        epoch = max(tried, default=job.epoch)
        empty = said.get((job.id, epoch, stage.key)) == EMPTY
        return Origin(job.id, epoch, job.runner, stage.key, is_empty=empty)

    def is_known(self, origin: Origin, job: Job) -> bool:
        """Whether a runner has said that it keeps it; `job` is that of the origin."""
        return (origin.job, origin.epoch, origin.stage) in self._said(job.run_id)

    def _found_elsewhere(self, stage: Stage, run: RunId, job: Job) -> Origin:
        """In another run, of which that of the job is a rerun; nobody has it where that one is gone."""
        ran = next((each for each in self._tx.stages.of_run(run) if each.key == stage.key), None)
        ran_in = None if ran is None else self._tx.jobs.get(ran.job_id)
        if ran is None or ran_in is None:
            return Origin(job.id, job.epoch, None, stage.key)
        return self.found_by(ran, ran_in)

    def _said(self, run: RunId) -> _Said:
        if run not in self._known:
            noted = self._tx.records.workspaces(run)
            self._known[run] = {(one.job, one.epoch, one.stage): one.how for one in noted}
        return self._known[run]
