"""A store on the module's database, and runs in it."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from rivet.domain.ids import NO_EPOCH, JobId, RunId, SessionId, StageId, StageKey
from rivet.domain.job import Job
from rivet.domain.run import Plan, Run
from rivet.domain.runner import Runner
from rivet.domain.stage import Stage
from rivet.domain.states import JobStatus, OnLost, RunnerStatus, RunStatus, StageStatus
from rivet.engine.ports import Committed
from rivet.store.unit import PostgresStore

PLAN = Plan(
    env={"A": "1"},
    network=False,
    network_hosts=("example.org:80",),
    hosts=(),
    limits={},
    isolation=None,
    timeout_s=600.0,
    on_lost="error",
    digest="d" * 64,
)


@dataclass
class Told:
    """What the store told after commits."""

    store: PostgresStore
    commits: list[Committed]


@dataclass(frozen=True)
class Planned:
    run: Run
    job: Job
    stages: list[Stage]


@pytest.fixture
def told(database_url: str) -> Iterator[Told]:
    commits: list[Committed] = []
    store = PostgresStore(database_url, on_commit=commits.append)
    yield Told(store, commits)
    store.close()


@pytest.fixture
def store(told: Told) -> PostgresStore:
    return told.store


@pytest.fixture
def a_run(store: PostgresStore) -> Callable[..., Planned]:
    """Make a run of one job with stages of the given keys, all still pending."""

    def make(*keys: str, pipeline: str = "demo") -> Planned:
        with store.begin() as tx:
            project = tx.pipelines.project("default")
            assert project is not None
            home = tx.pipelines.add(project.id, pipeline, pipeline)
            version = tx.pipelines.add_version(home.id, "return {}", {"name": pipeline}, "d", publish=True)
            run = Run(
                id=RunId(uuid.uuid4()),
                project_id=project.id,
                project="default",
                pipeline_id=home.id,
                pipeline=pipeline,
                version_id=version.id,
                number=tx.pipelines.take_run_number(home.id),
                status=RunStatus.QUEUED,
                reason=None,
                inputs={"x": 1.5},
                facts={},
                plan=PLAN,
                actor="alice",
                trigger="api",
                created_at=tx.now(),
            )
            tx.runs.add(run)
            job = Job(
                JobId(uuid.uuid4()), run.id, 1, "default", JobStatus.PENDING, None, NO_EPOCH, OnLost.ERROR
            )
            tx.jobs.add(job)
            stages = [
                Stage(
                    StageId(uuid.uuid4()), run.id, job.id, StageKey(key), key.title(), place,
                    StageStatus.PENDING, None,
                )
                for place, key in enumerate(keys or ("build",), 1)
            ]
            tx.stages.add(stages)
        return Planned(run, job, stages)

    return make


@pytest.fixture
def a_runner(store: PostgresStore) -> Callable[..., Runner]:
    """Register a runner that serves `default`."""

    def make(name: str = "") -> Runner:
        name = name or f"runner-{uuid.uuid4().hex[:8]}"
        with store.begin() as tx:
            token = tx.tokens.add("runner", name, uuid.uuid4().bytes, ["default"])
            runner = Runner(
                name, SessionId(uuid.uuid4()), token.id, RunnerStatus.ONLINE, ("default",), 2, 2, 0, (),
                "namespaces", "0.1", 1, tx.now(), tx.now(),
            )
            tx.runners.put(runner)
        return runner

    return make
