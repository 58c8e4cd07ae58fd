"""What a busy system asks of its database, one thing at a time: reads of the API, a run's way, upkeep, retention.

Who measures, and who looks at plans, go through `paths` in order: a run's way needs it.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from rivet.domain.ids import Epoch, JobId, RunId, SessionId
from rivet.domain.record import Record, RecordType
from rivet.engine.claim_job import claim_job
from rivet.engine.drop_caches import drop_caches
from rivet.engine.drop_unused import BATCH, LOOK_AT
from rivet.engine.expire_artifacts import expire_artifacts
from rivet.engine.forget_answers import forget_answers
from rivet.engine.forget_runners import forget_runners
from rivet.engine.ingest_records import ingest_records
from rivet.engine.let_go_of_runners import let_go_of_runners
from rivet.engine.ports import Evaluator, Queued, Token, Tx
from rivet.engine.publish_queued import publish_queued
from rivet.engine.renew_lease import renew_lease
from rivet.engine.settle_job import settle_job
from rivet.engine.start_run import StartRequest, start_run
from rivet.engine.watch_approvals import watch_approvals
from rivet.engine.watch_leases import watch_leases
from rivet.engine.watch_times import watch_times
from rivet.keyring import Keyring
from rivet.store.read_kept import KeptReads
from rivet.store.read_metrics import MetricReads
from rivet.store.read_records import RecordReads, Wanted
from rivet.store.read_runs import RunReads
from rivet.store.sizes import SizeReads
from rivet.store.unit import PostgresStore
from rivet.telemetry.metrics import RUN_BOUNDS_S, STAGE_BOUNDS_S
from rivet.wiring.ids import Uuid7

from .big_database import QUEUE, RUNNER, SELDOM, Big

LEASE_S = 12.0
DAY_S = 86400.0
_AT = "2026-01-02T03:04:05.600000Z"
_URL = "http://x"
_TICKETS = Keyring("k" * 32).tickets()
Path = tuple[str, Callable[[], object]]


class Calm:
    """A broker that has all messages, and runners that are not cut off."""

    def generation(self) -> str:
        return "now"

    def publish(self, queued: Queued) -> None:
        """There is nobody to take it."""

    def waiting(self, queue: str, runners: Collection[str]) -> int:
        return 10**6

    def delete_queue(self, queue: str) -> None:
        """There is none."""

    def cut_off(self, runners: Collection[str]) -> frozenset[str]:
        return frozenset()


class _Undone(Exception):
    """What was done is rolled back, so that it can be done again."""


@dataclass
class Site:
    """A database that was filled, and who works on it."""

    store: PostgresStore
    big: Big
    evaluator: Evaluator
    calm: Calm = field(default_factory=Calm)
    ids: Uuid7 = field(default_factory=Uuid7)

    def __post_init__(self) -> None:
        with self.store.engine.begin() as connection:
            row = connection.execute(
                text("SELECT session, token_id, seen_at FROM runner WHERE name = :name"), {"name": RUNNER}
            ).one()
            connection.execute(text("INSERT INTO part VALUES ('api-big', now() + interval '1 day', now() - interval '1 day')"))
            self.session = SessionId(row.session)
            self.token = Token(row.token_id, "runner", RUNNER, (QUEUE,), row.seen_at)
            ended = "SELECT id FROM run WHERE ended_at IS NOT NULL AND pipeline_id = :p ORDER BY id DESC LIMIT 1"
            home = connection.execute(text("SELECT id FROM pipeline WHERE slug = 'p5'")).scalar_one()
            self.recent = RunId(connection.execute(text(ended), {"p": home}).scalar_one())
            halfway = "SELECT id, number FROM run WHERE number >= :n AND pipeline_id = :p ORDER BY number LIMIT 1"
            asked = {"n": self.big.runs // 2, "p": home}
            old = connection.execute(text(halfway), asked).one()
            self.old, self.number = RunId(old.id), old.number

    def undone(self, do: Callable[[Tx], object]) -> None:
        try:
            with self.store.begin() as tx:
                do(tx)
                raise _Undone
        except _Undone:
            pass


def paths(site: Site) -> Iterator[Path]:
    yield from _reads(site)
    yield from _way(site)
    yield from _upkeep(site)
    yield from _retention(site)


def after_an_upgrade(site: Site) -> Iterator[Path]:
    """From a version that had no sums: nothing that ever ended is added up."""
    metrics = MetricReads(site.store.engine, LEASE_S, RUN_BOUNDS_S, STAGE_BOUNDS_S)

    def add_up() -> None:
        while metrics.add_up():
            pass

    with site.store.engine.begin() as connection:
        connection.execute(text("DELETE FROM tally"))
        connection.execute(text("UPDATE tally_until SET until = '-infinity'"))
    yield "after an upgrade: a scrape before it is added up", metrics.measured
    yield "after an upgrade: a part is added up", metrics.add_up
    yield "after an upgrade: all the rest is", add_up


def _reads(site: Site) -> Iterator[Path]:
    runs, records = RunReads(site.store.engine, LEASE_S), RecordReads(site.store.engine)
    kept = KeptReads(site.store.engine)
    metrics = MetricReads(site.store.engine, LEASE_S, RUN_BOUNDS_S, STAGE_BOUNDS_S)
    with site.store.begin() as tx:
        now = tx.now()

    def page(**which: Any) -> Callable[[], object]:
        wanted: dict[str, Any] = {"project": None, "pipeline": None, "status": None, "before": None} | which
        return lambda: runs.page(**wanted, limit=50, base_url=_URL)

    long_ago = now - timedelta(days=site.big.days * 0.9)
    yield "list: the first page", page()
    yield "list: of a project", page(project="default")
    yield "list: of a project with hardly any", page(project="seldom")
    yield "list: of a pipeline", page(project="default", pipeline="p7")
    yield "list: of a pipeline that seldom ran", page(project="seldom", pipeline=SELDOM)
    yield "list: of a pipeline, whatever its project", page(pipeline=SELDOM)
    yield "list: of a pipeline that there is not", page(pipeline="none")
    yield "list: failed", page(status="failed")
    yield "list: running", page(status="running")
    yield "list: of a status that is rare", page(status="errored")
    yield "list: of a pipeline, failed", page(project="default", pipeline="p7", status="failed")
    yield "list: started by a trigger that is rare", page(trigger="rerun")
    yield "list: since an hour ago", page(since=now - timedelta(hours=1))
    yield "list: until long ago", page(until=long_ago)
    yield "list: a page deep down", page(before=site.old)
    yield "list: a page deep down of a pipeline", page(project="default", pipeline="p7", before=site.old)
    yield "show: a run of now", lambda: runs.one(site.recent, _URL)
    yield "show: an old run", lambda: runs.one(site.old, _URL)
    yield "find: by number", lambda: runs.find(f"p5#{site.number}")
    yield "find: by the beginning of an id", lambda: runs.find(str(site.old)[:24])
    yield "log: a page", lambda: list(records.log(Wanted(site.old)))
    yield "log: of a stage, from a line on", lambda: list(records.log(Wanted(site.old, "s1", 1, from_line=2)))
    yield "log: its tail", lambda: list(records.log(Wanted(site.recent, tail=10)))
    yield "events: after a position", lambda: (records.after(site.recent, 1, 100), records.end_of(site.recent))
    yield "tests: of a run, with flaky ones", lambda: kept.tests(site.recent, 0, 100)
    yield "tests: counted", lambda: kept.totals(site.recent)
    yield "artifacts and coverage of a run", lambda: (kept.artifacts(site.recent, "", 50), kept.coverage(site.recent))
    yield "metrics: a scrape", metrics.measured


def _way(site: Site) -> Iterator[Path]:
    """One run from its start to its end."""
    store, job = site.store, list[JobId]()

    def start() -> None:
        request = StartRequest("default", "p3", {}, None, None, False, "alice", "api")
        run = start_run(request, store=store, evaluator=site.evaluator, ids=site.ids)
        with store.begin() as tx:
            job[:] = [each.id for each in tx.jobs.of_run(run)]

    def ingest() -> None:
        ingest_records(RUNNER, _journal(job[0]), store=store)

    yield "way: start a run", start
    yield "way: claim its job", lambda: claim_job(
        job[0], site.session, Epoch(1), 1, site.token, store=store, tickets=_TICKETS
    )
    yield "way: renew the lease", lambda: renew_lease(job[0], Epoch(1), site.session, store=store)
    yield "way: ingest its 64 records", ingest
    yield "way: settle it", lambda: settle_job(job[0], Epoch(1), store=store)


def _journal(job: JobId) -> list[Record]:
    log = {"first": 1, "count": 1, "marks": [[0, _AT, "log", "info"]]}
    ended = {"status": "passed", "reason": None, "exit_code": None, "error": None, "lines": 60, "bytes": 60}
    said = [
        (RecordType.JOB_CLAIMED, None, {"runner": RUNNER}), (RecordType.ATTEMPT_STARTED, "a", {}),
        *((RecordType.LOG, "a", log | {"first": line}) for line in range(1, 61)),
        (RecordType.ATTEMPT_ENDED, "a", ended), (RecordType.JOB_DONE, None, {"last_seq": 64}),
    ]
    return [
        Record(job, Epoch(1), seq, _AT, kind, stage, None if stage is None else 1, data, b"")  # type: ignore[arg-type]
        for seq, (kind, stage, data) in enumerate(said, 1)
    ]


def _upkeep(site: Site) -> Iterator[Path]:
    store, calm = site.store, site.calm

    def with_tx(do: Callable[[Tx], object]) -> Callable[[], None]:
        def done() -> None:
            with store.begin() as tx:
                do(tx)

        return done

    yield "upkeep: jobs to settle", with_tx(lambda tx: tx.jobs.settleable(100))
    yield "upkeep: publish_queued", lambda: publish_queued({QUEUE: 0}, store=store, dispatch=calm)
    yield "upkeep: watch_leases", lambda: watch_leases(LEASE_S, store=store, signs=calm)
    yield "upkeep: watch_approvals", lambda: watch_approvals(store=store)
    yield "upkeep: watch_times", lambda: watch_times(LEASE_S, store=store)
    yield "upkeep: let_go_of_runners", lambda: let_go_of_runners(LEASE_S, store=store, queues=calm)
    yield "upkeep: forget_answers", lambda: forget_answers(store=store)
    yield "upkeep: open matrices, turns", with_tx(lambda tx: (tx.runs.with_open_matrix(100), tx.runs.turns()))
    yield "upkeep: runs that go on", with_tx(lambda tx: tx.runs.going_on(100))


def _retention(site: Site) -> Iterator[Path]:
    store = site.store
    metrics = MetricReads(store.engine, LEASE_S, RUN_BOUNDS_S, STAGE_BOUNDS_S)

    def add_up() -> None:
        with store.engine.begin() as connection:
            connection.execute(text("UPDATE tally_until SET until = now() - interval '1 h'"))
        metrics.add_up()

    def drop_runs(tx: Tx) -> None:
        tx.expiry.delete_runs(tx.expiry.old_runs(tx.now(), site.big.days // 2, 50))

    def drop_day(tx: Tx) -> None:
        day = sorted(tx.record_days.all(), key=lambda each: each.first)[1]
        tx.record_days.drop(day, tx.now(), tx.now())
        tx.record_days.sweep(100)
        tx.record_days.forget_notes()

    def drop_unused(tx: Tx) -> None:
        tx.snapshots.forget_of_ended(DAY_S)
        tx.keeps.forget_of_ended(DAY_S)
        tx.expiry.drop_versions(tx.now(), 200)
        tx.expiry.drop_folders(tx.now(), 200)

    yield "clearing: metrics of an hour added up", add_up
    yield "clearing: 50 old runs deleted", lambda: site.undone(drop_runs)
    yield "clearing: a day of records dropped", lambda: site.undone(drop_day)
    yield "clearing: logs to move", lambda: site.undone(
        lambda tx: tx.moved_logs.to_move(tx.now() - timedelta(days=7), tx.now(), 100)
    )
    def expire_over(tx: Tx) -> None:
        tx.expiry.expire_these_artifacts(tx.now(), tx.expiry.artifacts_held(None, 500))
        tx.expiry.drop_these_caches(tx.expiry.caches_held(None, 500))

    yield "clearing: artifacts that are too much expire", lambda: site.undone(expire_over)
    yield "clearing: artifacts by age and size", lambda: expire_artifacts(60, 10**15, store=store)
    yield "clearing: caches, runners", lambda: (
        drop_caches(30, 10**12, store=store), forget_runners(30, store=store)
    )
    yield "clearing: workspaces, versions, folders", lambda: site.undone(drop_unused)
    yield "clearing: blobs that nothing refers to", lambda: site.undone(lambda tx: tx.blobs.forget_unused(DAY_S, None, LOOK_AT))
    yield "clearing: pieces that no blob has", lambda: site.undone(lambda tx: tx.blobs.take_unused_pieces(DAY_S, None, BATCH))
    yield "clearing: sizes", SizeReads(store.engine).measured
