"""One transaction a verb: `PostgresStore.begin` gives a `Tx` whose repositories share one connection."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import Connection, Engine, func, select

from rivet.domain.ids import ProjectId, RunId, StageKey
from rivet.domain.job import Job
from rivet.engine.ports import Committed, Tx
from rivet.store.answered import PostgresAnswered
from rivet.store.artifacts import PostgresArtifacts
from rivet.store.blobs import PostgresBlobs
from rivet.store.caches import PostgresCaches
from rivet.store.connect import engine_for
from rivet.store.expiry import PostgresExpiry
from rivet.store.failures import told_as_unavailable
from rivet.store.folders import PostgresFolders
from rivet.store.handed_on import PostgresKeeps, PostgresSnapshots
from rivet.store.jobs import PostgresJobs
from rivet.store.leases import PostgresLeases
from rivet.store.made import Made, after
from rivet.store.moved_logs import PostgresMovedLogs
from rivet.store.outbox import PostgresOutbox
from rivet.store.parts import PostgresParts
from rivet.store.pauses import PostgresPauses
from rivet.store.pipelines import KnownVersions, PostgresPipelines
from rivet.store.projects import PostgresProjects
from rivet.store.record_days import PostgresRecordDays
from rivet.store.records import PostgresRecords
from rivet.store.reports import PostgresReports
from rivet.store.runners import PostgresRunners
from rivet.store.runs import PostgresRuns
from rivet.store.secrets import PostgresSecrets
from rivet.store.seen import Seen
from rivet.store.sizes import PostgresSizes
from rivet.store.stages import PostgresStages
from rivet.store.tokens import PostgresTokens

_log = logging.getLogger(__name__)
_NOW = select(func.now())


class PostgresStore:
    """The store in PostgreSQL.

    `on_commit` hears what a transaction opened, after its commit and in its thread; what it raises is
    logged and goes no further, for upkeep covers what got lost there. It may be set later.
    """

    def __init__(
        self,
        database_url: str,
        on_commit: Callable[[Committed], None] | None = None,
        pool_size: int = 8,
    ) -> None:
        self.engine: Engine = engine_for(database_url, pool_size=pool_size)
        self.on_commit = on_commit
        self._known = KnownVersions()

    @contextmanager
    def begin(self) -> Iterator[Tx]:
        committed = Committed()
        with told_as_unavailable(), self.engine.begin() as connection:
            tx = Transaction(connection, committed, self._known)
            yield tx
            tx.write()
        if self.on_commit and not committed.is_empty():
            try:
                self.on_commit(committed)
            except Exception:  # noqa: BLE001 - the commit stands whatever the telling of it does
                _log.warning("what was committed could not be told; upkeep will", exc_info=True)

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()


class Transaction:
    """The repositories of one transaction."""

    def __init__(
        self, connection: Connection, committed: Committed, known: KnownVersions | None = None
    ) -> None:
        self._committed = committed
        self._seen = seen = Seen()
        self._made = made = Made(connection, seen)
        self._connection = connection = after(made, connection)
        self.projects = PostgresProjects(connection)
        self.pipelines = PostgresPipelines(connection, seen, known or KnownVersions())
        self.records = PostgresRecords(connection, committed)
        self.runs = PostgresRuns(connection, made, seen, self.records)
        self.jobs = PostgresJobs(connection, made, committed, seen)
        self.stages = PostgresStages(connection, made, seen)
        self.leases = PostgresLeases(connection)
        self.runners = PostgresRunners(connection)
        self.outbox = PostgresOutbox(connection)
        self.secrets = PostgresSecrets(connection)
        self.tokens = PostgresTokens(connection)
        self.parts = PostgresParts(connection)
        self.pauses = PostgresPauses(connection, committed)
        self.blobs = PostgresBlobs(connection)
        self.artifacts = PostgresArtifacts(connection)
        self.caches = PostgresCaches(connection)
        self.snapshots = PostgresSnapshots(connection)
        self.keeps = PostgresKeeps(connection)
        self.reports = PostgresReports(connection)
        self.folders = PostgresFolders(connection)
        self.answered = PostgresAnswered(connection)
        self.record_days = PostgresRecordDays(connection)
        self.expiry = PostgresExpiry(connection)
        self.moved_logs = PostgresMovedLogs(connection)
        self.sizes = PostgresSizes(connection)

    def write(self) -> None:
        """What is kept to be written at the end: before the commit."""
        self._made.write()
        self.stages.write()
        self.records.write()

    def now(self) -> datetime:
        if self._seen.now is None:
            self._seen.now = self._connection.execute(_NOW).scalar_one()
        return self._seen.now

    def tell_reached(self, run: RunId) -> None:
        self._committed.reached.append(run)

    def tell_turn(self, project: ProjectId, turn: str) -> None:
        self._committed.turns.append((project, turn))

    def tell_cancelled(self, job: Job, stage: StageKey | None = None) -> None:
        self._committed.cancelled.append((job.id, job.epoch, stage))
