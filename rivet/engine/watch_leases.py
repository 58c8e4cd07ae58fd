"""Watch leases: find the jobs whose runner or slot is gone, and lose them."""

from collections.abc import Collection
from typing import Protocol

from rivet.domain.job import Job
from rivet.domain.runner import Runner
from rivet.domain.states import Reason, RunnerStatus
from rivet.engine.lose_job import lose_job
from rivet.engine.ports import Store, Tx
from rivet.engine.run_ports import Lease


class Signs(Protocol):
    """What is known of runners besides their heartbeats."""

    def cut_off(self, runners: Collection[str]) -> frozenset[str]:
        """Those that live, and say that their API does not answer them. Raises Unavailable."""


def watch_leases(lease_s: float, *, store: Store, signs: Signs) -> int:
    """How many jobs were judged lost. Raises Unavailable.

    Nobody is judged for an outage of ours: not unless an API has beaten without a gap for a whole lease, for
    without one, runners could not renew; and not who says that no API answers it, for of several APIs the one
    that it speaks to may be the one that is away.
    """
    with store.begin() as tx:
        if not tx.parts.unbroken("api", lease_s, lease_s / 2):
            return 0
        late = tx.leases.late(lease_s)
        holders = {lease.session: runner.name for lease in late if (runner := _holder(lease, tx)) is not None}
        suspects = {runner.name for runner in tx.runners.silent(lease_s)} | set(holders.values())
    cut_off = signs.cut_off(suspects)
    with store.begin() as tx:
        for runner in tx.runners.silent(lease_s):
            if runner.name in suspects - cut_off:
                tx.runners.move(runner, RunnerStatus.LOST)
    return sum(_judge(lease, lease_s, store) for lease in late if holders.get(lease.session) not in cut_off)


def _holder(lease: Lease, tx: Tx) -> Runner | None:
    return tx.runners.by_session(lease.session)


def _judge(lease: Lease, lease_s: float, store: Store) -> bool:
    with store.begin() as tx:
        job = tx.jobs.lock_with_run(lease.job_id)
        if job is None or not job.is_held_in(lease.epoch) or job.is_ingested:
            return False  # with all of its journal in, it has ended, and is only to be settled
        if not any(again.job_id == job.id for again in tx.leases.late(lease_s)):
            return False
        tx.runs.lock(job.run_id)
        lives = _runner_lives(lease, lease_s, tx)
        if lives and not _slot_is_lost(lease, job, tx):
            return False
        lose_job(job, Reason.SLOT_LOST if lives else Reason.RUNNER_LOST, runner_lives=lives, tx=tx)
        return True


def _runner_lives(lease: Lease, lease_s: float, tx: Tx) -> bool:
    runner = _holder(lease, tx)
    return runner is not None and (tx.now() - runner.seen_at).total_seconds() < lease_s


def _slot_is_lost(lease: Lease, job: Job, tx: Tx) -> bool:
    """The runner lives, holds nothing of the job, could work on it, and was asked to publish it again."""
    runner = _holder(lease, tx)
    return (
        runner is not None
        and str(job.id) not in runner.holds
        and runner.own_queue == 0
        and runner.free_slots > 0
        and lease.helped
    )
