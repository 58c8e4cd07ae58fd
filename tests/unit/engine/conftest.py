"""A small system of the pure engine: a store in memory, an evaluator that knows its answer."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import pytest

from rivet.domain.ids import Epoch, JobId, SessionId, StageKey
from rivet.domain.order import Grants, Order
from rivet.domain.pipeline import Checked, Definition, StageDefinition
from rivet.domain.record import Record, RecordType
from rivet.domain.states import OnLost
from rivet.engine.claim_job import claim_job
from rivet.engine.ingest_records import Ingested, ingest_records
from rivet.engine.ports import Asked
from rivet.engine.register_runner import Registration, register_runner
from rivet.engine.start_run import StartRequest, start_run

from .memory_store import MemoryStore, World, a_token

LEASE_S = 12.0


class KnowingEvaluator:
    """Answers every source with one definition."""

    def __init__(self, definition: Definition, given: Any = None) -> None:
        self.definition, self.given = definition, given

    def ask(self, asked: Asked) -> Any:
        """`given` is what its functions give; an exception is raised."""
        if isinstance(self.given, Exception):
            raise self.given
        return self.given

    def check(self, source: str, filename: str = "rivet.lua", **_: Any) -> Checked:
        return Checked({"name": self.definition.name}, self.definition, [], "digest")


class Heard:
    """Runners that say over Redis that no API answers them."""

    def __init__(self, *cut_off: str) -> None:
        self._cut_off = frozenset(cut_off)

    def cut_off(self, runners: Collection[str]) -> frozenset[str]:
        return self._cut_off & frozenset(runners)


class PlainTickets:
    def issue(self, job: JobId, epoch: Epoch, session: SessionId, expires_at: float) -> str:
        return f"ticket:{job}:{epoch}"


@dataclass
class System:
    """What a test says things to."""

    store: MemoryStore = field(default_factory=MemoryStore)
    order: Order | None = None
    seq: int = 0

    def start(self, *stages: str, on_lost: OnLost = OnLost.ERROR, queue: str = "default") -> None:
        definition = Definition(
            name="Example", slug="example", description="", inputs=(), env={}, queue=queue, grants=Grants(),
            limits={}, isolation=None, timeout_s=3600, on_lost=on_lost,
            stages=tuple(
                StageDefinition(StageKey(name), name, index) for index, name in enumerate(stages or ("one",), 1)
            ),
        )
        start_run(
            StartRequest("default", "example", {}, "source", None, False, "alice", "cli"),
            store=self.store, evaluator=KnowingEvaluator(definition), ids=Ids(self.store),
        )

    def register(self, name: str = "runner", *queues: str) -> SessionId:
        return register_runner(
            Registration(name, queues or ("default",), 2, "namespaces", "0", 1, None),
            a_token(*queues), store=self.store, ids=Ids(self.store), lease_s=LEASE_S,
        )

    def claim(self, session: SessionId, *queues: str) -> Order:
        job = self.store.job()
        self.order = claim_job(
            job.id, session, job.epoch, 1, a_token(*queues), store=self.store, tickets=PlainTickets()
        )
        self.seq = 0
        return self.order

    def record(self, type: RecordType, stage: str | None = None, **data: Any) -> Record:
        """The next record of the job's journal."""
        assert self.order is not None
        self.seq += 1
        key = None if stage is None else StageKey(stage)
        attempt = None if stage is None else self.order.stage(StageKey(stage)).next_attempt
        return Record(self.order.job, self.order.epoch, self.seq, "2030-01-01T00:00:00Z", type, key, attempt, data)

    def ingest(self, *records: Record, runner: str = "runner") -> Ingested:
        return ingest_records(runner, records, store=self.store)

    def perform(self, stage: str, status: str = "passed", **data: Any) -> None:
        self.ingest(
            self.record(RecordType.ATTEMPT_STARTED, stage),
            self.record(RecordType.ATTEMPT_ENDED, stage, status=status, **data),
        )

    def done(self) -> None:
        self.ingest(self.record(RecordType.JOB_DONE))

    def hear(self, name: str = "runner", **changes: Any) -> None:
        """The runner's heartbeat, as it reaches the database."""
        runner = self.store.world.runners[name]
        self.store.world.runners[name] = replace(runner, seen_at=self.store.world.now, **changes)


class Ids:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def uuid(self) -> UUID:
        return World.uuid(self._store.world)


@pytest.fixture
def system() -> System:
    return System()


@pytest.fixture
def running(system: System) -> Callable[..., System]:
    """A run of these stages whose job a runner has claimed."""

    def make(*stages: str, **options: Any) -> System:
        system.start(*stages, **options)
        system.claim(system.register())
        return system

    return make
