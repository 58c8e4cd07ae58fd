"""Runs and their clocks. The clock's row is narrow and hot; its lock is the run's."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import BindParameter, Connection, Text, bindparam, case, func, select, text, update

from rivet.domain.ids import PipelineId, ProjectId, RunId, VersionId
from rivet.domain.run import Plan, Run
from rivet.domain.states import FINISHED_RUN, Reason, RunStatus
from rivet.domain.transitions import RUN as MOVES
from rivet.store.made import Made
from rivet.store.records import PostgresRecords
from rivet.store.seen import Seen
from rivet.store.tables import JOB, PIPELINE, PROJECT, RUN, RUN_CLOCK, AnyRow

_ALL = (
    select(
        *RUN.c,
        PROJECT.c.slug.label("project"),
        PIPELINE.c.slug.label("pipeline"),
        RUN_CLOCK.c.lines,
    )
    .join_from(RUN, PROJECT, PROJECT.c.id == RUN.c.project_id)
    .join(PIPELINE, PIPELINE.c.id == RUN.c.pipeline_id)
    .join(RUN_CLOCK, RUN_CLOCK.c.run_id == RUN.c.id)
)
_GET = _ALL.where(RUN.c.id == bindparam("run"))
_BEFORE = RUN_CLOCK.alias("before")
_AT_CLOCK = _GET.add_columns(
    select(func.count()).select_from(JOB).where(JOB.c.run_id == RUN.c.id).scalar_subquery().label("jobs"),
    # The locked row is as of now, all else as of before the wait for it.
    (select(_BEFORE.c.pos).where(_BEFORE.c.run_id == RUN.c.id).scalar_subquery() != RUN_CLOCK.c.pos).label(
        "has_waited"
    ),
)
_LOCK = _AT_CLOCK.with_for_update(of=RUN_CLOCK)
_TO: BindParameter[str] = bindparam("to", type_=Text)
_MOVE = (
    update(RUN)
    .where(RUN.c.id == bindparam("run"), RUN.c.status == bindparam("origin"))
    .values(
        status=_TO,
        reason=bindparam("why"),
        cancelled_by=func.coalesce(bindparam("by"), RUN.c.cancelled_by),
        started_at=case(
            (_TO.in_([RunStatus.RUNNING.value]), func.coalesce(RUN.c.started_at, func.now())),
            else_=RUN.c.started_at,
        ),
        ended_at=case(
            (_TO.in_([status.value for status in FINISHED_RUN]), func.now()), else_=RUN.c.ended_at
        ),
        waiting_since=case((_TO.in_([RunStatus.WAITING.value]), func.now()), else_=None),
        waited_s=RUN.c.waited_s
        + func.coalesce(func.date_part("epoch", func.now() - RUN.c.waiting_since), 0.0),
    )
    .returning(RUN.c.cancelled_by, RUN.c.started_at, RUN.c.ended_at, RUN.c.waited_s)
)
_LOCK_TURN = text("SELECT pg_advisory_xact_lock(hashtextextended(:group, 0))")
_OF_TURN = _ALL.where(
    RUN.c.project_id == bindparam("of_project"), RUN.c.turn == bindparam("of_turn"), RUN.c.ended_at.is_(None)
).order_by(RUN.c.id)
_WAITS = (RUN.c.status == RunStatus.QUEUED.value, RUN.c.reason == Reason.CONCURRENCY.value)
_ADMIT = update(RUN).where(RUN.c.id == bindparam("run"), *_WAITS).values(reason=None)
_TURNS = (
    select(RUN.c.project_id, RUN.c.turn)
    .where(*_WAITS, RUN.c.turn.is_not(None), RUN.c.ended_at.is_(None))
    .distinct()
)
_GOING_ON = select(RUN.c.id).where(RUN.c.ended_at.is_(None)).order_by(RUN.c.id).limit(bindparam("most"))
_OPEN = text(
    """
    SELECT DISTINCT run.id FROM run JOIN stage ON stage.run_id = run.id
    WHERE run.ended_at IS NULL AND stage.status = 'pending' AND (stage.spec ->> 'is_open')::boolean
    ORDER BY run.id LIMIT :most
    """
)


class PostgresRuns:
    def __init__(self, connection: Connection, made: Made, seen: Seen, records: PostgresRecords) -> None:
        self._connection = connection
        self._made = made
        self._seen = seen
        self._records = records

    def add(self, run: Run) -> None:
        self._made.add_run(run)
        self._seen.made("run", run.id, run)
        self._seen.made("jobs", run.id, [])
        self._seen.made("stages", run.id, [])

    def get(self, run: RunId) -> Run | None:
        return self._seen.read("run", run, lambda: self._get(run))

    def _get(self, run: RunId) -> Run | None:
        row = self._connection.execute(_GET, {"run": run}).one_or_none()
        return self._run_of(row) if row else None

    def _run_of(self, row: AnyRow) -> Run:
        """With the lines that this transaction adds."""
        run = run_of(row)
        more = self._records.lines_of(run.id)
        return replace(run, lines=run.lines + more) if more else run

    def lock(self, run: RunId) -> Run | None:
        self._records.write(before=run)
        row = self._connection.execute(_LOCK, {"run": run}).one_or_none()
        if row is not None and row.has_waited:
            row = self._connection.execute(_AT_CLOCK, {"run": run}).one_or_none()
        if row is None:
            self._seen.locked()
            return None
        found = self._run_of(row)
        self._seen.at_clock(run, found, row.jobs)
        return found

    def move(
        self, run: Run, to: RunStatus, *, reason: Reason | None = None, cancelled_by: str | None = None
    ) -> bool:
        MOVES.check(run.status, to)
        moved = self._connection.execute(
            _MOVE,
            {"run": run.id, "origin": run.status.value, "to": to.value, "why": reason, "by": cancelled_by},
        ).one_or_none()
        if moved is None:
            self._seen.changed("run")
            return False
        self._seen.made("run", run.id, replace(run, status=to, reason=reason, **moved._mapping))
        return True

    def lock_turn(self, project: ProjectId, turn: str) -> None:
        self._connection.execute(_LOCK_TURN, {"group": f"{project}:{turn}"})
        self._seen.locked()

    def of_turn(self, project: ProjectId, turn: str) -> Sequence[Run]:
        rows = self._connection.execute(_OF_TURN, {"of_project": project, "of_turn": turn})
        return [run_of(row) for row in rows]

    def admit(self, run: Run) -> bool:
        self._seen.changed("run")
        return self._connection.execute(_ADMIT, {"run": run.id}).rowcount == 1

    def turns(self) -> Sequence[tuple[ProjectId, str]]:
        return [(ProjectId(row.project_id), row.turn) for row in self._connection.execute(_TURNS)]

    def going_on(self, limit: int) -> Sequence[RunId]:
        return [RunId(run) for run in self._connection.execute(_GOING_ON, {"most": limit}).scalars()]

    def with_open_matrix(self, limit: int) -> Sequence[RunId]:
        return [RunId(run) for run in self._connection.execute(_OPEN, {"most": limit}).scalars()]


def run_of(row: AnyRow) -> Run:
    return Run(
        id=RunId(row.id),
        project_id=ProjectId(row.project_id),
        project=row.project,
        pipeline_id=PipelineId(row.pipeline_id),
        pipeline=row.pipeline,
        version_id=VersionId(row.version_id),
        number=row.number,
        status=RunStatus(row.status),
        reason=reason_of(row.reason),
        inputs=row.inputs,
        facts=row.facts,
        plan=_plan(row.plan),
        actor=row.actor,
        trigger=row.trigger,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        cancelled_by=row.cancelled_by,
        lines=row.lines,
        waited_s=row.waited_s,
        turn=row.turn,
        folder=None if row.folder is None else bytes(row.folder).hex(),
        rerun_of=None if row.rerun_of is None else RunId(row.rerun_of),
    )


def reason_of(text: str | None) -> Reason | None:
    return None if text is None else Reason(text)


def _plan(stored: Mapping[str, Any]) -> Plan:
    fields = dict(stored)
    for name in ("network_hosts", "hosts"):
        fields[name] = tuple(fields[name])
    if fields.get("secrets") is not None:
        fields["secrets"] = tuple(fields["secrets"])
    return Plan(**fields)
