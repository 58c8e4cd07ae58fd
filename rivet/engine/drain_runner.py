"""Drain a runner: it finishes what it holds, takes nothing new, and ends."""

from rivet.domain.errors import Conflict, NotFound
from rivet.domain.states import RunnerStatus
from rivet.engine.ports import Store


def drain_runner(name: str, *, store: Store) -> None:
    """Ask for it; the runner hears of it with its next heartbeat. Asking twice changes nothing.

    Raises NotFound, and Conflict where the runner does not live.
    """
    with store.begin() as tx:
        runner = tx.runners.lock(name)
        if runner is None:
            raise NotFound(f'there is no runner "{name}"')
        if runner.status is RunnerStatus.DRAINING:
            return
        if runner.status is not RunnerStatus.ONLINE:
            raise Conflict(f'runner "{name}" is {runner.status}: there is nothing to drain')
        tx.runners.move(runner, RunnerStatus.DRAINING)
