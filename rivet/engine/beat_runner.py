"""Hear a runner's heartbeat, and tell it what to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from rivet.domain.errors import Fenced
from rivet.domain.ids import Epoch, JobId, SessionId
from rivet.domain.pause import Paused
from rivet.domain.runner import Keeping
from rivet.domain.states import RunnerStatus
from rivet.engine.ports import Store, Token


@dataclass(frozen=True, slots=True)
class Beat:
    """`publish_again` are jobs whose chain seems to have vanished: the runner is to publish the rest.

    `let_go` are jobs from whose workspaces nobody will start any more. `paused`: it is to take nothing new
    until it hears otherwise.
    """

    drain: bool
    publish_again: tuple[tuple[JobId, Epoch], ...]
    let_go: tuple[JobId, ...] = ()
    paused: bool = False


def beat_runner(
    session: SessionId,
    free_slots: int,
    own_queue: int,
    holds: Sequence[str],
    *,
    store: Store,
    lease_s: float,
    token: Token,
    leaving: bool = False,
    keeps: Sequence[JobId] = (),
    keeping: Keeping | None = None,
) -> Beat:
    """Note that the runner lives, or with `leaving` that it ends now, and tell it what to do.

    `keeps` are jobs whose workspaces it would let go of, unless their runs go on; `keeping` is what it says
    of those that it has.

    Raises Fenced where the session is not its own.
    """
    with store.begin() as tx:
        runner = tx.runners.by_session(session)
        if runner is None or runner.token_id != token.id:
            raise Fenced("this session is not known: register again")
        if leaving:
            if runner.status is not RunnerStatus.OFFLINE:
                tx.runners.move(runner, RunnerStatus.OFFLINE)
            return Beat(False, ())
        if runner.status in (RunnerStatus.LOST, RunnerStatus.OFFLINE):
            tx.runners.move(runner, RunnerStatus.ONLINE)
        tx.runners.beat(session, free_slots, own_queue, holds, keeping)
        again = []
        if own_queue == 0 and free_slots > 0:
            held = {job.id for job in tx.runners.held_by(session)} - {_job(text) for text in holds}
            for lease in tx.leases.late(lease_s / 2):
                if lease.job_id in held and lease.session == session:
                    # Half a lease is left to act on it before anybody is judged, however late the asking is.
                    tx.leases.note_help(lease.job_id, lease.epoch, lease_s / 2)
                    again.append((lease.job_id, lease.epoch))
        over = tx.jobs.of_ended_runs(keeps) if keeps else ()
        paused = tx.pauses.get(Paused.RUNNER, runner.name) is not None
        return Beat(runner.status is RunnerStatus.DRAINING, tuple(again), tuple(over), paused)


def _job(text: str) -> JobId | None:
    try:
        return JobId(UUID(text))
    except ValueError:
        return None
