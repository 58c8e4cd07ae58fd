"""Which state may follow which. Only here is a move decided; only the store applies it, guarded."""

from collections.abc import Mapping
from typing import Generic, TypeVar

from rivet.domain.errors import IllegalMove
from rivet.domain.states import (
    AttemptStatus as Attempt,
)
from rivet.domain.states import (
    JobStatus as Job,
)
from rivet.domain.states import (
    RunnerStatus as Runner,
)
from rivet.domain.states import (
    RunStatus as Run,
)
from rivet.domain.states import (
    StageStatus as Stage,
)

S = TypeVar("S", Run, Job, Stage, Attempt, Runner)


class Moves(Generic[S]):
    """A table of allowed moves of one kind of thing."""

    def __init__(self, table: Mapping[S, frozenset[S]]) -> None:
        self._table: dict[S, frozenset[S]] = dict(table)

    def allows(self, origin: S, target: S) -> bool:
        return target in self._table.get(origin, frozenset())

    def check(self, origin: S, target: S) -> None:
        """Raise IllegalMove unless `target` may follow `origin`."""
        if not self.allows(origin, target):
            raise IllegalMove(f"{type(origin).__name__}: {origin} -> {target} is not in the table of moves")

    def is_terminal(self, state: S) -> bool:
        return not self._table.get(state)

    def rows(self) -> Mapping[S, frozenset[S]]:
        return dict(self._table)


RUN: Moves[Run] = Moves({
    Run.QUEUED: frozenset({Run.RUNNING, Run.WAITING, Run.CANCELLED, Run.FAILED, Run.ERRORED}),
    Run.RUNNING: frozenset({
        Run.WAITING, Run.CANCELLING, Run.PASSED, Run.FAILED, Run.ERRORED, Run.TIMED_OUT,
    }),
    Run.WAITING: frozenset({
        Run.RUNNING, Run.CANCELLING, Run.PASSED, Run.CANCELLED, Run.FAILED, Run.ERRORED, Run.TIMED_OUT,
    }),
    Run.CANCELLING: frozenset({Run.CANCELLED, Run.ERRORED, Run.PASSED, Run.FAILED}),
})

JOB: Moves[Job] = Moves({
    # Passed, failed, timed out without having run: all that a job was made for was a person's answer.
    Job.PENDING: frozenset({
        Job.QUEUED, Job.SKIPPED, Job.CANCELLED, Job.FAILED, Job.ERRORED, Job.PASSED, Job.TIMED_OUT,
    }),
    Job.QUEUED: frozenset({Job.RUNNING, Job.CANCELLED, Job.ERRORED}),
    # Queued: given back by its slot, until it is time for the next attempt of a stage.
    Job.RUNNING: frozenset({
        Job.PASSED, Job.FAILED, Job.ERRORED, Job.TIMED_OUT, Job.CANCELLED, Job.LOST, Job.QUEUED,
    }),
    Job.LOST: frozenset({Job.QUEUED, Job.ERRORED, Job.CANCELLED}),
})

STAGE: Moves[Stage] = Moves({
    Stage.PENDING: frozenset({
        Stage.RUNNING, Stage.SKIPPED, Stage.WAITING, Stage.FAILED, Stage.CANCELLED, Stage.ERRORED,
    }),
    Stage.RUNNING: frozenset({
        Stage.PASSED, Stage.WARNED, Stage.FAILED, Stage.ERRORED, Stage.TIMED_OUT, Stage.CANCELLED,
        Stage.PENDING,
    }),
    Stage.WAITING: frozenset({
        Stage.PENDING, Stage.PASSED, Stage.FAILED, Stage.TIMED_OUT, Stage.CANCELLED,
    }),
})

# What has ended moves no more by itself; a person may have it begun again while its run goes on.
JOB_AGAIN: Moves[Job] = Moves({
    ended: frozenset({Job.PENDING})
    for ended in (Job.FAILED, Job.ERRORED, Job.TIMED_OUT, Job.CANCELLED, Job.SKIPPED)
})

STAGE_AGAIN: Moves[Stage] = Moves({
    ended: frozenset({Stage.PENDING})
    for ended in (Stage.FAILED, Stage.ERRORED, Stage.TIMED_OUT, Stage.CANCELLED, Stage.SKIPPED)
})

ATTEMPT: Moves[Attempt] = Moves({
    Attempt.RUNNING: frozenset({
        Attempt.PASSED, Attempt.FAILED, Attempt.ERRORED, Attempt.TIMED_OUT, Attempt.CANCELLED, Attempt.LOST,
    }),
})

RUNNER: Moves[Runner] = Moves({
    Runner.ONLINE: frozenset({Runner.DRAINING, Runner.OFFLINE, Runner.LOST}),
    Runner.DRAINING: frozenset({Runner.OFFLINE, Runner.LOST}),
    Runner.LOST: frozenset({Runner.ONLINE, Runner.OFFLINE}),
    Runner.OFFLINE: frozenset({Runner.ONLINE}),
})
