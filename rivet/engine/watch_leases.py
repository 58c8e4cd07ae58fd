"""Watch leases: find the jobs whose runner or slot is gone, and lose them."""

from rivet.domain.job import Job
from rivet.domain.states import Reason, RunnerStatus
from rivet.engine.lose_job import lose_job
from rivet.engine.ports import Lease, Store, Tx


def watch_leases(lease_s: float, *, store: Store) -> int:
    """How many jobs were judged lost.

    Nobody is judged unless an API has beaten without a gap for a whole lease: without one, runners could
    not renew, and the outage was ours.
    """
    with store.begin() as tx:
        if not tx.parts.unbroken("api", lease_s, lease_s / 2):
            return 0
        for runner in tx.runners.silent(lease_s):
            tx.runners.move(runner, RunnerStatus.LOST)
        late = tx.leases.late(lease_s)
    return sum(_judge(lease, lease_s, store) for lease in late)


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
    runner = tx.runners.by_session(lease.session)
    return runner is not None and (tx.now() - runner.seen_at).total_seconds() < lease_s


def _slot_is_lost(lease: Lease, job: Job, tx: Tx) -> bool:
    """The runner lives, holds nothing of the job, could work on it, and was asked to publish it again."""
    runner = tx.runners.by_session(lease.session)
    return (
        runner is not None
        and str(job.id) not in runner.holds
        and runner.own_queue == 0
        and runner.free_slots > 0
        and lease.helped
    )
