"""A store in memory for the pure engine: the same guards as the real one, no database."""

import contextlib
import copy
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from rivet.domain import transitions
from rivet.domain.artifact import Contents
from rivet.domain.blob import Manifest
from rivet.domain.ids import Epoch, JobId, PipelineId, ProjectId, RunId, StageKey, TokenId, VersionId
from rivet.domain.job import Job, Origin
from rivet.domain.keeping import Paths
from rivet.domain.pause import Pause, Paused
from rivet.domain.record import Record
from rivet.domain.run import Run
from rivet.domain.runner import Runner
from rivet.domain.secret import Secret
from rivet.domain.stage import Attempt, Stage
from rivet.domain.states import (
    FINISHED_JOB,
    FINISHED_RUN,
    FINISHED_STAGE,
    AttemptStatus,
    JobStatus,
    RunnerStatus,
    RunStatus,
    StageStatus,
)
from rivet.engine.ports import Found, NotedWorkspace, Pipeline, Project, Published, Queued, Token, Version
from rivet.engine.run_ports import Asker, Ended, Lease

_NUMBERS = itertools.count(1)


@dataclass
class World:
    """Everything that is stored. A transaction works on a copy and puts it back when it commits."""

    now: datetime = datetime(2030, 1, 1, tzinfo=UTC)
    pipelines: dict[PipelineId, Pipeline] = field(default_factory=dict)
    versions: dict[VersionId, Version] = field(default_factory=dict)
    numbers: dict[PipelineId, int] = field(default_factory=dict)
    runs: dict[RunId, Run] = field(default_factory=dict)
    jobs: dict[JobId, Job] = field(default_factory=dict)
    stages: dict[UUID, Stage] = field(default_factory=dict)
    attempts: dict[tuple[UUID, int], Attempt] = field(default_factory=dict)
    outputs: dict[tuple[RunId, str, str], Any] = field(default_factory=dict)
    leases: dict[JobId, tuple[Epoch, UUID, datetime, bool]] = field(default_factory=dict)
    runners: dict[str, Runner] = field(default_factory=dict)
    not_before: dict[tuple[JobId, Epoch], datetime] = field(default_factory=dict)
    outbox: dict[tuple[JobId, Epoch], tuple[str, str | None]] = field(default_factory=dict)
    records: dict[RunId, list[Any]] = field(default_factory=dict)
    cancelled: list[tuple[JobId, StageKey | None]] = field(default_factory=list)
    turns: list[tuple[ProjectId, str]] = field(default_factory=list)
    reached: list[RunId] = field(default_factory=list)
    begun: dict[tuple[JobId, Epoch], list[tuple[Any, int]]] = field(default_factory=dict)
    api_unbroken: bool = True
    secrets: dict[tuple[ProjectId, str], Secret] = field(default_factory=dict)
    snapshots: dict[tuple[JobId, Epoch], Contents] = field(default_factory=dict)
    keeps: dict[tuple[RunId, StageKey], tuple[Contents, Paths]] = field(default_factory=dict)

    def is_due(self, job: JobId, epoch: Epoch) -> bool:
        return self.not_before.get((job, epoch), self.now) <= self.now

    def uuid(self) -> UUID:
        """Never the same twice, though a transaction works on a copy of the world."""
        return UUID(int=next(_NUMBERS))


class MemoryStore:
    """Implements `ports.Store`; also what tests look at (`world`) and turn (`pass_time`)."""

    def __init__(self) -> None:
        self.world = World()
        self.project = Project(ProjectId(UUID(int=10**6)), "default")

    @contextlib.contextmanager
    def begin(self) -> Iterator["_Tx"]:
        world = copy.deepcopy(self.world)
        yield _Tx(world, self.project)
        self.world = world

    def pass_time(self, seconds: float) -> None:
        self.world.now += timedelta(seconds=seconds)

    # What tests read.
    def run(self) -> Run:
        return next(iter(self.world.runs.values()))

    def job(self) -> Job:
        return next(iter(self.world.jobs.values()))

    def stage_states(self) -> list[str]:
        return [str(stage.status) for stage in sorted(self.world.stages.values(), key=lambda s: s.ordinal)]

    def events(self) -> list[str]:
        return [str(getattr(entry, "type", entry[0] if isinstance(entry, tuple) else entry))
                for entry in self.world.records[self.run().id]]


class _Tx:
    def __init__(self, world: World, project: Project) -> None:
        self._world = world
        self.pipelines = _Pipelines(world, project)
        self.runs = _Runs(world)
        self.jobs = _Jobs(world)
        self.stages = _Stages(world)
        self.leases = _Leases(world)
        self.runners = _Runners(world)
        self.records = _Records(world)
        self.outbox = _Outbox(world)
        self.parts = _Parts(world)
        self.pauses = _Pauses()
        self.secrets = _Secrets(world)
        self.blobs = _Blobs(world)
        self.snapshots = _Snapshots(world)
        self.keeps = _Keeps(world)
        self.artifacts = _Artifacts()

    def now(self) -> datetime:
        return self._world.now

    def tell_turn(self, project: ProjectId, turn: str) -> None:
        self._world.turns.append((project, turn))

    def tell_reached(self, run: RunId) -> None:
        self._world.reached.append(run)

    def tell_cancelled(self, job: Job, stage: StageKey | None = None) -> None:
        self._world.cancelled.append((job.id, stage))


class _Of:
    def __init__(self, world: World) -> None:
        self.w = world


class _Pipelines(_Of):
    def __init__(self, world: World, project: Project) -> None:
        super().__init__(world)
        self._project = project

    def project(self, slug: str) -> Project | None:
        return self._project if slug == self._project.slug else None

    def find(self, project: str, slug: str) -> Found | None:
        home = self.project(project)
        if home is None:
            return None
        known = self.get(home.id, slug)
        newest = known and self.published(known.id)
        return Found(home, known, newest and Published(newest.id, newest.lua))

    def get(self, project: ProjectId, slug: str) -> Pipeline | None:
        return next((p for p in self.w.pipelines.values() if p.slug == slug), None)

    def add(self, project: ProjectId, slug: str, name: str) -> Pipeline:
        made = Pipeline(PipelineId(self.w.uuid()), project, slug, name, self.w.now)
        self.w.pipelines[made.id] = made
        return made

    def take_run_number(self, pipeline: PipelineId) -> int:
        self.w.numbers[pipeline] = self.w.numbers.get(pipeline, 0) + 1
        return self.w.numbers[pipeline]

    def add_version(
        self, pipeline: PipelineId, lua: str, definition: Mapping[str, Any], digest: str, *, publish: bool
    ) -> Version:
        number = 1 + sum(1 for v in self.w.versions.values() if v.pipeline_id == pipeline and v.number)
        made = Version(
            VersionId(self.w.uuid()), pipeline, number if publish else None, lua, definition, digest, self.w.now
        )
        self.w.versions[made.id] = made
        return made

    def version(self, version: VersionId) -> Version | None:
        return self.w.versions.get(version)

    def published(self, pipeline: PipelineId, number: int | None = None) -> Version | None:
        found = [v for v in self.w.versions.values() if v.pipeline_id == pipeline and v.number is not None]
        wanted = [v for v in found if number is None or v.number == number]
        return max(wanted, key=lambda v: v.number or 0, default=None)


class _Runs(_Of):
    def add(self, run: Run) -> None:
        self.w.runs[run.id] = run
        self.w.records[run.id] = []

    def get(self, run: RunId) -> Run | None:
        return self.w.runs.get(run)

    lock = get

    def move(self, run: Run, to: RunStatus, *, reason: Any = None, cancelled_by: str | None = None) -> bool:
        transitions.RUN.check(run.status, to)
        now = self.w.runs[run.id]
        if now.status is not run.status:
            return False
        self.w.runs[run.id] = replace(
            now,
            status=to,
            reason=reason,
            cancelled_by=cancelled_by or now.cancelled_by,
            started_at=now.started_at or (self.w.now if to is RunStatus.RUNNING else None),
            ended_at=self.w.now if to in FINISHED_RUN else None,
        )
        return True

    def lock_turn(self, project: ProjectId, turn: str) -> None:
        """There is nobody else."""

    def of_turn(self, project: ProjectId, turn: str) -> Sequence[Run]:
        return [run for run in self.w.runs.values() if run.turn == turn and not run.is_finished]

    def admit(self, run: Run) -> bool:
        now = self.w.runs[run.id]
        self.w.runs[run.id] = replace(now, reason=None)
        return now.status is RunStatus.QUEUED


class _Jobs(_Of):
    def add(self, job: Job) -> None:
        self.w.jobs[job.id] = job

    def get(self, job: JobId) -> Job | None:
        return self.w.jobs.get(job)

    lock = get

    def of_run(self, run: RunId) -> Sequence[Job]:
        return sorted((j for j in self.w.jobs.values() if j.run_id == run), key=lambda j: j.ordinal)

    lock_of_run = of_run
    lock_with_run = get

    def lock_asked(self, job: JobId, session: Any) -> tuple[Job, Asker | None] | None:
        asker = next((r for r in self.w.runners.values() if r.session == session), None)
        found = self.w.jobs.get(job)
        return found and (found, asker and Asker(asker.name, asker.token_id))

    def lock_all(self, jobs: Collection[JobId], whole: Collection[JobId]) -> Mapping[JobId, Job]:
        """There is nobody else."""
        runs = {self.w.jobs[job].run_id for job in whole if job in self.w.jobs}
        return {job.id: job for job in self.w.jobs.values() if job.id in jobs or job.run_id in runs}

    def of_ended_runs(self, jobs: Sequence[JobId]) -> Sequence[JobId]:
        return [job for job in jobs if self.w.runs[self.w.jobs[job].run_id].is_finished]

    def add_waits(self, run: RunId, job: JobId, more: Sequence[JobId]) -> None:
        for each in self.of_run(run):
            if job in each.waits_for:
                self.w.jobs[each.id] = replace(each, waits_for=(*each.waits_for, *more))

    def is_at_work(self, job: JobId) -> bool:
        return self.w.jobs[job].status in (JobStatus.QUEUED, JobStatus.RUNNING)

    def begin_again(self, job: Job, origin: Origin | None) -> bool:
        transitions.JOB_AGAIN.check(job.status, JobStatus.PENDING)
        return self._guarded(
            job, status=JobStatus.PENDING, reason=None, ended_at=None, is_cancelled=False, origin=origin
        )

    def ask_cancel(self, job: Job) -> bool:
        now = self.w.jobs[job.id]
        self.w.jobs[job.id] = replace(now, is_cancelled=True)
        return not now.is_cancelled and now.status not in FINISHED_JOB

    def _guarded(self, job: Job, **changes: Any) -> bool:
        now = self.w.jobs[job.id]
        if (now.status, now.epoch) != (job.status, job.epoch):
            return False
        self.w.jobs[job.id] = replace(now, **changes)
        return True

    def move(self, job: Job, to: JobStatus, *, reason: Any = None) -> bool:
        transitions.JOB.check(job.status, to)
        ended = self.w.now if to in FINISHED_JOB else None
        return self._guarded(job, status=to, reason=reason, ended_at=ended)

    def begin(self, job: Job, queue: str, after_s: float = 0.0) -> Epoch | None:
        transitions.JOB.check(job.status, JobStatus.QUEUED)
        epoch = Epoch(job.epoch + 1)
        if not self._guarded(
            job, status=JobStatus.QUEUED, epoch=epoch, runner=None, session=None, last_seq=None,
            ingested_seq=0, reason=None,
        ):
            return None
        self.w.outbox[job.id, epoch] = (queue, None)
        if after_s > 0:
            self.w.not_before[job.id, epoch] = self.w.now + timedelta(seconds=after_s)
        return epoch

    def claim(self, job: Job, runner: str, session: Any) -> bool:
        done = self._guarded(job, status=JobStatus.RUNNING, runner=runner, session=session)
        if done:
            self.w.leases[job.id] = (job.epoch, session, self.w.now, False)
        return done

    def advance(
        self, job: JobId, epoch: Epoch, from_seq: int, to_seq: int, *, last_seq: int | None = None
    ) -> bool:
        now = self.w.jobs[job]
        if (now.epoch, now.ingested_seq) != (epoch, from_seq):
            return False
        last = now.last_seq if last_seq is None else last_seq
        self.w.jobs[job] = replace(now, ingested_seq=to_seq, last_seq=last)
        return True

    def settleable(self, limit: int) -> Sequence[tuple[JobId, Epoch]]:
        return [(j.id, j.epoch) for j in self.w.jobs.values()
                if j.status is JobStatus.RUNNING and j.is_ingested][:limit]

    def queued_counts(self) -> Mapping[str, int]:
        counts: dict[str, int] = {}
        for (job, epoch), (queue, _) in self.w.outbox.items():
            now = self.w.jobs[job]
            if now.status is JobStatus.QUEUED and now.epoch == epoch and self.w.is_due(job, epoch):
                counts[queue] = counts.get(queue, 0) + 1
        return counts


class _Stages(_Of):
    def add(self, stages: Any) -> None:
        for stage in stages:
            self.w.stages[stage.id] = stage

    def of_job(self, job: JobId) -> Sequence[Stage]:
        return sorted((s for s in self.w.stages.values() if s.job_id == job), key=lambda s: s.ordinal)

    def of_run(self, run: RunId) -> Sequence[Stage]:
        return sorted((s for s in self.w.stages.values() if s.run_id == run), key=lambda s: s.ordinal)

    def move(self, stage: Stage, to: Any, *, reason: Any = None) -> bool:
        transitions.STAGE.check(stage.status, to)
        now = self.w.stages[stage.id]
        if now.status is not stage.status:
            return False
        since = self.w.now if to is StageStatus.WAITING else None
        self.w.stages[stage.id] = replace(now, status=to, reason=reason, waiting_since=since)
        if to is StageStatus.PENDING:
            for key in [key for key in self.w.outputs if key[:2] == (stage.run_id, stage.key)]:
                del self.w.outputs[key]
        return True

    def begin(self, stage: Stage, attempt: Attempt) -> bool:
        transitions.STAGE.check(stage.status, StageStatus.RUNNING)
        is_there = self.w.stages[stage.id].status is stage.status
        return is_there and self.start_attempt(attempt) and self.move(stage, StageStatus.RUNNING)

    def end(self, stage: Stage, to: StageStatus, ended: Ended, *, reason: Any) -> bool:
        transitions.STAGE.check(stage.status, to)
        self.end_attempt(
            stage.id, ended.number, ended.epoch, ended.status, reason=ended.reason, exit_code=ended.exit_code,
            error=ended.error,
        )
        return self.move(stage, to, reason=reason)

    def begin_again(self, stage: Stage) -> bool:
        transitions.STAGE_AGAIN.check(stage.status, StageStatus.PENDING)
        now = self.w.stages[stage.id]
        if now.status is not stage.status:
            return False
        self.w.stages[stage.id] = replace(
            now, status=StageStatus.PENDING, reason=None, cancelled_by=None, approved_by=None
        )
        for key in [key for key in self.w.outputs if key[:2] == (stage.run_id, stage.key)]:
            del self.w.outputs[key]
        return True

    def ask_cancel(self, stage: Stage, actor: str) -> bool:
        now = self.w.stages[stage.id]
        if now.status in FINISHED_STAGE or now.cancelled_by is not None:
            return False
        self.w.stages[stage.id] = replace(now, cancelled_by=actor)
        return True

    def start_attempt(self, attempt: Attempt) -> bool:
        if (attempt.stage_id, attempt.number) in self.w.attempts or self.live_attempts(attempt.job_id):
            return False
        self.w.attempts[attempt.stage_id, attempt.number] = attempt
        stage = self.w.stages[attempt.stage_id]
        self.w.stages[attempt.stage_id] = replace(stage, attempts=attempt.number)
        return True

    def end_attempt(
        self, stage: Any, number: int, epoch: Epoch, status: AttemptStatus, *, reason: Any, exit_code: Any,
        error: Any,
    ) -> bool:
        now = self.w.attempts.get((stage, number))
        if now is None or now.status is not AttemptStatus.RUNNING or now.epoch != epoch:
            return False
        self.w.attempts[stage, number] = replace(
            now, status=status, reason=reason, exit_code=exit_code, error=error, ended_at=self.w.now
        )
        return True

    def add_lines(self, stage: Any, number: int, lines: int) -> None:
        now = self.w.attempts[stage, number]
        self.w.attempts[stage, number] = replace(now, lines=now.lines + lines)

    def live_attempts(self, job: JobId) -> Sequence[Attempt]:
        return [a for a in self.w.attempts.values()
                if a.job_id == job and a.status is AttemptStatus.RUNNING]

    def make_room(self, run: RunId, ordinal: int, count: int) -> None:
        for stage in self.of_run(run):
            if stage.ordinal > ordinal:
                self.w.stages[stage.id] = replace(stage, ordinal=stage.ordinal + count)

    def become(self, stage: Stage, copy: Stage) -> None:
        now = self.w.stages[stage.id]
        self.w.stages[stage.id] = replace(now, key=copy.key, name=copy.name, spec=copy.spec)

    def note_approval(self, stage: Stage, actor: str) -> None:
        self.w.stages[stage.id] = replace(self.w.stages[stage.id], approved_by=actor)

    def expired(self, limit: int) -> Sequence[tuple[RunId, UUID]]:
        return [
            (stage.run_id, stage.id) for stage in self.w.stages.values()
            if stage.status is StageStatus.WAITING and stage.spec.approval and stage.spec.approval.timeout_s
            and (self.w.now - stage.waiting_since).total_seconds() > stage.spec.approval.timeout_s
        ]

    def superseded(self, limit: int) -> Sequence[tuple[RunId, UUID]]:
        passed = [run.number for run in self.w.runs.values() if run.status is RunStatus.PASSED]
        return [
            (stage.run_id, stage.id) for stage in self.w.stages.values()
            if stage.status is StageStatus.WAITING
            and any(number > self.w.runs[stage.run_id].number for number in passed)
        ]

    def overdue(self, grace_s: float) -> Sequence[JobId]:
        return sorted(
            attempt.job_id for attempt in self.w.attempts.values()
            if attempt.status is AttemptStatus.RUNNING and self.w.jobs[attempt.job_id].is_held_in(attempt.epoch)
            and (self.w.now - attempt.started_at).total_seconds()
            > self.w.stages[attempt.stage_id].timeout_s + grace_s
        )

    def outputs(self, run: RunId) -> Mapping[str, Any]:
        return {name: value for (of, _, name), value in self.w.outputs.items() if of == run}

    def output_lists(self, run: RunId) -> Mapping[str, Any]:
        lists: dict[str, list[Any]] = {}
        copies = [stage for stage in self.of_run(run) if stage.spec.row is not None]
        for each in sorted(copies, key=lambda stage: stage.ordinal):
            for (of, key, name), value in self.w.outputs.items():
                if (of, key) == (run, each.key):
                    lists.setdefault(name, []).append(value)
        return lists

    def set_output(self, run: RunId, stage: Any, name: str, value: Any) -> None:
        self.w.outputs[run, stage, name] = value

    def copy_outputs(self, origin: RunId, run: RunId, stages: Sequence[StageKey]) -> None:
        of_origin = [key for key in self.w.outputs if key[0] == origin and key[1] in stages]
        self.w.outputs |= {(run, stage, name): self.w.outputs[origin, stage, name] for _, stage, name in of_origin}


class _Leases(_Of):
    def renew(self, job: JobId, epoch: Epoch, session: Any) -> bool:
        known = self.w.leases.get(job)
        if known is None or known[:2] != (epoch, session):
            return False
        self.w.leases[job] = (epoch, session, self.w.now, False)
        return True

    def note_begun(self, job: JobId, epoch: Epoch, session: Any, stage: Any, attempt: int) -> None:
        known = self.w.leases.get(job)
        said = self.w.begun.setdefault((job, epoch), [])
        if known is not None and known[:2] == (epoch, session) and (stage, attempt) not in said:
            said.append((stage, attempt))

    def begun(self, job: JobId, epoch: Epoch) -> Sequence[tuple[Any, int]]:
        return self.w.begun.get((job, epoch), [])

    def late(self, older_than_s: float) -> Sequence[Lease]:
        return [
            Lease(job, epoch, session, (self.w.now - at).total_seconds(), helped)
            for job, (epoch, session, at, helped) in self.w.leases.items()
            if self.w.jobs[job].is_held_in(epoch) and (self.w.now - at).total_seconds() > older_than_s
        ]

    def note_help(self, job: JobId, epoch: Epoch, age_s: float) -> None:
        held_in, session, at, helped = self.w.leases[job]
        if not helped and held_in == epoch:
            at = max(at, self.w.now - timedelta(seconds=age_s))
        self.w.leases[job] = (held_in, session, at, True)


class _Runners(_Of):
    def get(self, name: str) -> Runner | None:
        return self.w.runners.get(name)

    lock = get

    def by_session(self, session: Any) -> Runner | None:
        return next((r for r in self.w.runners.values() if r.session == session), None)

    def put(self, runner: Runner) -> None:
        self.w.runners[runner.name] = runner

    def beat(
        self, session: Any, free_slots: int, own_queue: int, holds: Sequence[str], keeping: Any = None
    ) -> bool:
        runner = self.by_session(session)
        if runner is None:
            return False
        if keeping is not None:
            since = self.w.now - timedelta(seconds=keeping.since_s)
            runner = replace(runner, kept_since=since, kept_s=keeping.longest_s)
        self.w.runners[runner.name] = replace(
            runner, free_slots=free_slots, own_queue=own_queue, holds=tuple(holds), seen_at=self.w.now
        )
        return True

    def move(self, runner: Runner, to: RunnerStatus) -> bool:
        transitions.RUNNER.check(runner.status, to)
        self.w.runners[runner.name] = replace(self.w.runners[runner.name], status=to)
        return True

    def silent(self, longer_than_s: float) -> Sequence[Runner]:
        return [r for r in self.w.runners.values()
                if r.status in (RunnerStatus.ONLINE, RunnerStatus.DRAINING)
                and (self.w.now - r.seen_at).total_seconds() > longer_than_s]

    def held_by(self, session: Any) -> Sequence[Job]:
        return [j for j in self.w.jobs.values() if j.session == session and j.status is JobStatus.RUNNING]

    def serving(self, queue: str) -> Sequence[str]:
        return sorted(
            runner.name for runner in self.w.runners.values()
            if runner.status is RunnerStatus.ONLINE and queue in runner.queues
        )

    def living(self) -> Sequence[str]:
        return sorted(
            runner.name for runner in self.w.runners.values()
            if runner.status in (RunnerStatus.ONLINE, RunnerStatus.DRAINING)
        )

    def names(self) -> Sequence[str]:
        return sorted(self.w.runners)

    def gone(self, longer_than_s: float) -> Sequence[str]:
        return [
            runner.name for runner in self.w.runners.values()
            if runner.status in (RunnerStatus.OFFLINE, RunnerStatus.LOST)
            and (self.w.now - runner.seen_at).total_seconds() > longer_than_s
            and not self.held_by(runner.session)
        ]


class _Records(_Of):
    def append(self, run: RunId, entries: Sequence[Any], *, late: bool = False) -> None:
        have = {(r.job, r.epoch, r.seq) for r in self.w.records[run] if isinstance(r, Record)}
        for entry in entries:
            if not isinstance(entry, Record) or (entry.job, entry.epoch, entry.seq) not in have:
                self.w.records[run].append(entry)
            if isinstance(entry, Record) and entry.type == "log" and not late:
                lines = self.w.runs[run].lines + entry.data["count"]
                self.w.runs[run] = replace(self.w.runs[run], lines=lines)

    def workspaces(self, run: RunId) -> Sequence[NotedWorkspace]:
        return [
            NotedWorkspace(r.job, r.epoch, r.stage, r.data["workspace"])
            for r in self.w.records[run] if isinstance(r, Record) and "workspace" in r.data
        ]


class _Outbox(_Of):
    def unpublished(self, generation: str, limit: int) -> Sequence[Queued]:
        unpublished = [q for q in self._queued() if self.w.outbox[q.job_id, q.epoch][1] != generation]
        return [q for q in unpublished if self.w.is_due(q.job_id, q.epoch)][:limit]

    def of_queue(self, queue: str, limit: int, *, due: bool = False) -> Sequence[Queued]:
        found = [q for q in self._queued() if q.queue == queue]
        return [q for q in found if not due or self.w.is_due(q.job_id, q.epoch)][:limit]

    def _queued(self) -> list[Queued]:
        return [
            Queued(job, epoch, queue)
            for (job, epoch), (queue, _) in self.w.outbox.items()
            if self.w.jobs[job].status is JobStatus.QUEUED and self.w.jobs[job].epoch == epoch
        ]

    def mark(self, published: Sequence[Queued], generation: str) -> None:
        for queued in published:
            self.w.outbox[queued.job_id, queued.epoch] = (queued.queue, generation)


class _Parts(_Of):
    def unbroken(self, prefix: str, for_s: float, gap_s: float) -> bool:
        return self.w.api_unbroken


class _Pauses:
    """Nothing is paused."""

    def get(self, kind: Paused, target: str) -> Pause | None:
        return None


class _Blobs(_Of):
    """Every piece has been sent."""

    def sizes(self, project: ProjectId, digests: Iterable[str]) -> Mapping[str, int]:
        return dict.fromkeys(digests, 1)

    def add(self, project: ProjectId, manifest: Manifest) -> UUID:
        return self.w.uuid()


class _Snapshots(_Of):
    def put(self, job: Job, contents: Contents, blob: UUID) -> None:
        self.w.snapshots[job.id, job.epoch] = contents

    def get(self, job: Job) -> Contents | None:
        return self.w.snapshots.get((job.id, job.epoch))

    def copy(self, origin: Job, job: Job) -> None:
        if (origin.id, origin.epoch) in self.w.snapshots:
            self.w.snapshots[job.id, job.epoch] = self.w.snapshots[origin.id, origin.epoch]


class _Keeps(_Of):
    def put(self, run: RunId, stage: StageKey, contents: Contents, paths: Paths, blob: UUID) -> None:
        self.w.keeps[run, stage] = contents, paths

    def copy(self, origin: RunId, run: RunId, stages: Sequence[StageKey]) -> None:
        found = [stage for of, stage in self.w.keeps if of == origin and stage in stages]
        self.w.keeps |= {(run, stage): self.w.keeps[origin, stage] for stage in found}

    def of_run(self, run: RunId) -> Mapping[StageKey, Contents]:
        return {stage: contents for (of, stage), (contents, _) in self.w.keeps.items() if of == run}

    def paths(self, run: RunId, stages: Sequence[StageKey]) -> Mapping[StageKey, Paths]:
        return {stage: self.w.keeps[run, stage][1] for stage in stages if (run, stage) in self.w.keeps}


class _Artifacts:
    """No stage of these tests uploads any."""

    def copy(self, origin: RunId, run: RunId, stages: Sequence[StageKey]) -> None:
        """There are none to copy."""


class _Secrets(_Of):
    def get(self, project: ProjectId, name: str) -> Secret | None:
        return self.w.secrets.get((project, name))

    def put(self, project: ProjectId, name: str, sealed: Any, audience: Any, actor: str) -> Secret:
        made_at = getattr(self.get(project, name), "created_at", self.w.now)
        made = Secret(project, name, sealed, audience, actor, made_at, self.w.now)
        self.w.secrets[project, name] = made
        return made

    def delete(self, project: ProjectId, name: str) -> bool:
        return self.w.secrets.pop((project, name), None) is not None

    def of_project(self, project: ProjectId, *, after: str | None, limit: int) -> Sequence[Secret]:
        names = sorted(name for of, name in self.w.secrets if of == project and name > (after or ""))
        return [self.w.secrets[project, name] for name in names[:limit]]


def a_token(*queues: str) -> Token:
    return Token(TokenId(UUID(int=77)), "runner", "test", queues or ("default",), datetime(2030, 1, 1, tzinfo=UTC))
