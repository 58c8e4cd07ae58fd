"""Admit runs: those that share a `concurrency` group take turns, in the order in which they were started."""

from rivet.domain.ids import ProjectId, RunId
from rivet.domain.run import Run
from rivet.domain.states import Reason, RunStatus
from rivet.engine.advance_run import advance_run
from rivet.engine.cancel_run import cancel_run
from rivet.engine.ports import Store


def admit_runs(project: ProjectId, turn: str, *, store: Store) -> int:
    """How many were admitted. Safe at any time and as often as one likes.

    The group's lock is taken before anything else, and by nobody who holds a job or a clock.
    """
    with store.begin() as tx:
        tx.runs.lock_turn(project, turn)
        going = [run for run in tx.runs.of_turn(project, turn) if not _waits(run)]
        waiting = [run for run in tx.runs.of_turn(project, turn) if _waits(run)]
        admitted = 0
        while waiting and len(going) + admitted < waiting[0].plan.turns:
            next_one = waiting.pop(0)
            tx.jobs.lock_of_run(next_one.id)
            tx.runs.lock(next_one.id)
            if tx.runs.admit(next_one):
                advance_run(next_one.id, tx)
                admitted += 1
    if waiting and waiting[0].plan.cancel_running:
        _make_room(going, waiting[0], store)
    return admitted


def _waits(run: Run) -> bool:
    return run.status is RunStatus.QUEUED and run.reason is Reason.CONCURRENCY


def _make_room(going: list[Run], newer: Run, store: Store) -> None:
    """The newest run that waits wants the turn of those that go on: they are cancelled, the oldest first."""
    over = len(going) - newer.plan.turns + 1
    for run in going[:over]:
        # Others may come to the same at the same time: the asking is one, and `finally` has its turn.
        actor = f"{newer.pipeline}#{newer.number}, which takes its turn"
        cancel_run(RunId(run.id), actor, store=store, once=True)
