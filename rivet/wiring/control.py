"""Control's composition root: its store, and the leased threads that ingest journals and do the upkeep."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from uuid import uuid4

from rivet.blobs.stored import open_blobs
from rivet.dispatch import Dispatch
from rivet.domain.errors import BadRecord, Unavailable
from rivet.domain.ids import Epoch, JobId, RunId
from rivet.domain.record import Record, stand_in, unpack, unreadable
from rivet.engine.admit_runs import admit_runs
from rivet.engine.drop_caches import drop_caches
from rivet.engine.drop_days import drop_days
from rivet.engine.drop_old_runs import drop_old_runs
from rivet.engine.drop_unused import drop_unused
from rivet.engine.expand_matrix import expand_matrices
from rivet.engine.expire_artifacts import expire_artifacts
from rivet.engine.forget_answers import forget_answers
from rivet.engine.forget_runners import forget_runners
from rivet.engine.ingest_records import Ingested, ingest_records
from rivet.engine.let_go_of_runners import let_go_of_runners
from rivet.engine.move_logs import move_logs
from rivet.engine.note_sizes import note_sizes
from rivet.engine.open_days import open_days
from rivet.engine.ports import Store
from rivet.engine.publish_queued import publish_queued
from rivet.engine.settle_job import settle_job
from rivet.engine.watch_approvals import watch_approvals
from rivet.engine.watch_leases import watch_leases
from rivet.engine.watch_times import watch_times
from rivet.journal.stream import Batch, Signs, StreamReader
from rivet.journal.tail import TailPublisher
from rivet.sandbox.lua import Zygote
from rivet.store.read_metrics import MetricReads
from rivet.store.unit import PostgresStore
from rivet.telemetry.logs import about
from rivet.telemetry.metrics import RUN_BOUNDS_S, STAGE_BOUNDS_S
from rivet.wiring.evaluator import LuaEvaluator
from rivet.wiring.ids import Uuid7
from rivet.wiring.outlet import Outlet
from rivet.wiring.settings import Settings
from rivet.wiring.sizes import other_sizes

_log = logging.getLogger(__name__)

INGEST_RECORDS = 64
INGEST_WAIT_MS = 250
LOOK_S = 5.0
LEADER_S = 5.0
AWAY_S = 0.5
CLEAR_AGAIN_S = 60.0
CLEAR_EVERY_S = 3600.0
MOST_SETTLED = 1000
"""How many jobs are remembered that this process settled."""


class Control:
    """What a control process does: settle when told, ingest and upkeep when it is the one to do it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._dispatch = Dispatch(settings.broker_url)
        outlet = Outlet(self._dispatch, TailPublisher(settings.broker_url))
        stored = PostgresStore(settings.database_url, outlet)
        self.store: Store = stored
        self._metrics = MetricReads(stored.engine, settings.lease_seconds, RUN_BOUNDS_S, STAGE_BOUNDS_S)
        outlet.store, outlet.expand = self.store, self._expand
        self._blobs = open_blobs(settings.artifacts_url, settings.home / "artifacts")
        self._evaluator = LuaEvaluator(Zygote())
        self._ids = Uuid7()
        self._signs = Signs(settings.broker_url)
        self._me = uuid4()
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._short: dict[str, int] = {}
        self._settled: dict[tuple[JobId, Epoch], None] = {}
        self._guard = threading.Lock()

    def start(self) -> None:
        for name, work, away_s in (
            ("ingest", self._ingest, AWAY_S),
            ("upkeep", self._upkeep, AWAY_S),
            ("clearing", self._clear, CLEAR_AGAIN_S),
        ):
            thread = threading.Thread(
                target=self._for_ever, args=(name, work, away_s), name=name, daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(timeout=5)

    def settle(self, job: JobId, epoch: Epoch) -> None:
        """Whoever comes second in this process knows that it is done, and need not ask the database."""
        if (job, epoch) not in self._settled and settle_job(job, epoch, store=self.store):
            self._note_settled([(job, epoch)])

    def _note_settled(self, jobs: Sequence[tuple[JobId, Epoch]]) -> None:
        with self._guard:
            self._settled |= dict.fromkeys(jobs)
            while len(self._settled) > MOST_SETTLED:
                del self._settled[next(iter(self._settled))]

    def _expand(self, run: RunId) -> None:
        expand_matrices(run, store=self.store, evaluator=self._evaluator, ids=self._ids)

    def _open_up(self) -> None:
        """What a commit should have led to, and something kept from it: matrices reached, turns that came."""
        with self.store.begin() as tx:
            runs, turns = tx.runs.with_open_matrix(100), tx.runs.turns()
        for run in runs:
            with about(run=run):
                self._expand(run)
        for project, turn in turns:
            admit_runs(project, turn, store=self.store)

    def _for_ever(self, name: str, work: Callable[[], None], away_s: float) -> None:
        """Do `work` while this process holds the lease of that name; an outage is waited out."""
        told = False
        while not self._over.is_set():
            try:
                if self._leads(name):
                    work()
                else:
                    self._over.wait(1.0)
                told = False
            except Unavailable as error:
                if not told:
                    _log.warning("%s waits: %s", name, error)
                told = True
                self._over.wait(away_s)
            except Exception:  # noqa: BLE001
                # A thread of control that ended would stop every run: told, and tried again.
                _log.exception("%s failed and goes on", name)
                self._over.wait(away_s)

    def _leads(self, name: str) -> bool:
        with self.store.begin() as tx:
            return tx.parts.take_lease(name, self._me, LEADER_S)

    def _ingest(self) -> None:
        """Until the lease is to be taken again: read every runner's stream and write what it says."""
        reader = StreamReader(self._settings.broker_url)
        until = time.monotonic() + LEADER_S / 2
        looked, names = 0.0, list[str]()
        while time.monotonic() < until and not self._over.is_set():
            if time.monotonic() - looked > 1.0:
                looked = time.monotonic()
                with self.store.begin() as tx:
                    names = list(tx.runners.names())
            if not names:
                self._over.wait(0.5)
                continue
            for batch in reader.read(names, count=INGEST_RECORDS, wait_ms=INGEST_WAIT_MS):
                with about(runner=batch.runner):
                    self._take_in(batch, reader)

    def _take_in(self, batch: Batch, reader: StreamReader) -> None:
        records = _readable(batch)
        try:
            ingested = Ingested()
            if records:
                ingested = ingest_records(batch.runner, records, store=self.store, settle=True)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001
            # One of them is what nobody foresaw. It must not stand in the way of all others.
            _log.exception("a batch of %s is taken record by record", batch.runner)
            ingested = self._one_by_one(batch.runner, records)
        if ingested.dropped:
            _log.warning("%d records of %s were not wanted and are dropped", ingested.dropped, batch.runner)
        reader.done(batch, ingested.expected)
        self._note_settled(ingested.settled)
        for job, epoch in ingested.done:
            with about(job=job, epoch=epoch):
                self.settle(job, epoch)

    def _one_by_one(self, runner: str, records: Sequence[Record]) -> Ingested:
        """Each in a transaction of its own; what cannot be taken even so is stood in for, and said."""
        whole = Ingested()
        for record in records:
            try:
                one = ingest_records(runner, [record], store=self.store)
            except Unavailable:
                raise
            except Exception as error:  # noqa: BLE001
                _log.error("record %d of job %s cannot be stored: %s", record.seq, record.job, error)
                instead = unreadable(record.job, record.epoch, record.seq, type(error).__name__)
                one = ingest_records(runner, [instead], store=self.store)
            whole.expected |= one.expected
            whole.done += one.done
            whole.dropped += one.dropped
        return whole

    def _upkeep(self) -> None:
        with self.store.begin() as tx:
            tx.parts.beat(f"control-{socket.gethostname()}-{os.getpid()}", self._settings.lease_seconds)
            missed = tx.jobs.settleable(100)
        for job, epoch in missed:
            with about(job=job, epoch=epoch):
                self.settle(job, epoch)
        self._short = dict(publish_queued(self._short, store=self.store, dispatch=self._dispatch))
        watch_leases(self._settings.lease_seconds, store=self.store, signs=self._signs)
        watch_approvals(store=self.store)
        forget_answers(store=self.store)
        self._metrics.add_up()
        self._open_up()
        watch_times(self._settings.lease_seconds, store=self.store)
        let_go_of_runners(self._settings.lease_seconds, store=self.store, queues=self._dispatch)
        self._over.wait(min(LOOK_S, self._settings.lease_seconds / 4))

    def _clear(self) -> None:
        """Seldom, and beside the upkeep: it may take long. What goes when is in `domain.retention`."""
        keep, store = self._settings.keep(), self.store
        open_days(store=store)
        note_sizes(other_sizes(self._settings), store=store)
        while self._metrics.add_up():  # what is deleted below has to be in the sums
            pass
        if self._settings.logs_in == "artifacts":
            moved = move_logs(store=store, blobs=self._blobs)
            if moved:
                _log.info("moved the logs of %d runs to the store of artifacts", moved)
        self._say("%d days of logs", drop_days(keep.logs_days, store=store))
        self._say("%d runs", drop_old_runs(keep.runs_days, store=store))
        self._say(
            "%d artifacts", expire_artifacts(keep.artifacts_days, keep.artifacts_bytes, store=store)
        )
        self._say("%d caches", drop_caches(keep.caches_days, keep.caches_bytes, store=store))
        for runner in forget_runners(keep.runners_days, store=store):
            self._dispatch.forget_runner(runner)
        self._say(
            "%d pieces of blobs that nothing refers to any more",
            drop_unused(store=store, blobs=self._blobs),
        )
        with store.begin() as tx:
            tx.projects.drop_deleted()
        self._over.wait(CLEAR_EVERY_S)


    def _say(self, what: str, dropped: int) -> None:
        if dropped:
            _log.info("dropped " + what, dropped)


def _readable(batch: Batch) -> Sequence[Record]:
    records = []
    for packed in batch.packed:
        try:
            records.append(unpack(packed))
        except BadRecord as error:
            _log.error("a record in the journal of %s cannot be read: %s", batch.runner, error)
            if (instead := stand_in(packed, str(error))) is not None:
                records.append(instead)
    return records

