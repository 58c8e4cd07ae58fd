"""Runners, as they registered and last said."""

from collections.abc import Sequence

from sqlalchemy import Connection, Double, Text, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from rivet.domain.ids import SessionId, TokenId
from rivet.domain.job import Job
from rivet.domain.runner import Keeping, Runner
from rivet.domain.states import JobStatus, RunnerStatus
from rivet.domain.transitions import RUNNER as MOVES
from rivet.store.jobs import job_of
from rivet.store.plain_json import storable
from rivet.store.tables import JOB, RUNNER, AnyRow

_GET = select(*RUNNER.c).where(RUNNER.c.name == bindparam("runner"))
_LOCK = _GET.with_for_update()
_BY_SESSION = select(*RUNNER.c).where(RUNNER.c.session == bindparam("of_session"))
_NEW = upsert(RUNNER)
_PUT = _NEW.on_conflict_do_update(
    index_elements=["name"],
    set_={column.name: _NEW.excluded[column.name] for column in RUNNER.c if column.name != "name"},
)
_BEAT = (
    update(RUNNER)
    .where(RUNNER.c.session == bindparam("of_session"))
    .values(
        free_slots=bindparam("free"),
        own_queue=bindparam("own"),
        holds=bindparam("held"),
        seen_at=func.now(),
        kept_since=func.coalesce(
            func.now() - func.make_interval(0, 0, 0, 0, 0, 0, bindparam("kept_for", type_=Double)),
            RUNNER.c.kept_since,
        ),
        kept_s=func.coalesce(bindparam("kept_longest", type_=Double), RUNNER.c.kept_s),
    )
)
_MOVE = (
    update(RUNNER)
    .where(
        RUNNER.c.name == bindparam("runner"),
        RUNNER.c.session == bindparam("of_session"),
        RUNNER.c.status == bindparam("origin"),
    )
    .values(status=bindparam("to"))
)
_SILENT = (
    select(*RUNNER.c)
    .where(
        RUNNER.c.status.in_([RunnerStatus.ONLINE.value, RunnerStatus.DRAINING.value]),
        RUNNER.c.seen_at < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, bindparam("longer")),
    )
    .order_by(RUNNER.c.name)
)
_HELD = (
    select(*JOB.c)
    .where(JOB.c.session == bindparam("of_session"), JOB.c.status == JobStatus.RUNNING.value)
    .order_by(JOB.c.id)
)
_GONE = (
    select(RUNNER.c.name)
    .where(
        RUNNER.c.status.in_([RunnerStatus.OFFLINE.value, RunnerStatus.LOST.value]),
        RUNNER.c.seen_at < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, bindparam("longer")),
        ~select(JOB.c.id)
        .where(JOB.c.session == RUNNER.c.session, JOB.c.status == JobStatus.RUNNING.value)
        .exists(),
    )
    .order_by(RUNNER.c.name)
)
_SERVING = (
    select(RUNNER.c.name)
    .where(
        RUNNER.c.status == RunnerStatus.ONLINE.value,
        bindparam("of_queue", type_=Text) == func.any(RUNNER.c.queues),
    )
    .order_by(RUNNER.c.name)
)
_LIVING = (
    select(RUNNER.c.name)
    .where(RUNNER.c.status.in_([RunnerStatus.ONLINE.value, RunnerStatus.DRAINING.value]))
    .order_by(RUNNER.c.name)
)
_NAMES = select(RUNNER.c.name).order_by(RUNNER.c.name)
_MOST = 2**31 - 1


class PostgresRunners:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, name: str) -> Runner | None:
        row = self._connection.execute(_GET, {"runner": storable(name)}).one_or_none()
        return _runner(row) if row else None

    def by_session(self, session: SessionId) -> Runner | None:
        row = self._connection.execute(_BY_SESSION, {"of_session": session}).one_or_none()
        return _runner(row) if row else None

    def lock(self, name: str) -> Runner | None:
        row = self._connection.execute(_LOCK, {"runner": storable(name)}).one_or_none()
        return _runner(row) if row else None

    def put(self, runner: Runner) -> None:
        self._connection.execute(
            _PUT,
            {
                "name": runner.name,
                "session": runner.session,
                "token_id": runner.token_id,
                "status": runner.status.value,
                "queues": list(runner.queues),
                "slots": runner.slots,
                "free_slots": runner.free_slots,
                "own_queue": runner.own_queue,
                "holds": list(runner.holds),
                "isolation": storable(runner.isolation),
                "version": storable(runner.version),
                "protocol": runner.protocol,
                "registered_at": runner.registered_at,
                "seen_at": runner.seen_at,
                "kept_since": runner.kept_since,
                "kept_s": runner.kept_s,
            },
        )

    def beat(
        self,
        session: SessionId,
        free_slots: int,
        own_queue: int,
        holds: Sequence[str],
        keeping: Keeping | None = None,
    ) -> bool:
        beaten = self._connection.execute(
            _BEAT,
            {
                "of_session": session,
                "free": min(free_slots, _MOST),
                "own": min(own_queue, _MOST),
                "held": [storable(job) for job in holds],
                "kept_for": None if keeping is None else keeping.since_s,
                "kept_longest": None if keeping is None else keeping.longest_s,
            },
        )
        return beaten.rowcount == 1

    def move(self, runner: Runner, to: RunnerStatus) -> bool:
        MOVES.check(runner.status, to)
        moved = self._connection.execute(
            _MOVE,
            {
                "runner": runner.name,
                "of_session": runner.session,
                "origin": runner.status.value,
                "to": to.value,
            },
        )
        return moved.rowcount == 1

    def silent(self, longer_than_s: float) -> Sequence[Runner]:
        return [_runner(row) for row in self._connection.execute(_SILENT, {"longer": longer_than_s})]

    def held_by(self, session: SessionId) -> Sequence[Job]:
        return [job_of(row) for row in self._connection.execute(_HELD, {"of_session": session})]

    def serving(self, queue: str) -> Sequence[str]:
        return list(self._connection.execute(_SERVING, {"of_queue": queue}).scalars())

    def living(self) -> Sequence[str]:
        return list(self._connection.execute(_LIVING).scalars())

    def names(self) -> Sequence[str]:
        return list(self._connection.execute(_NAMES).scalars())

    def gone(self, longer_than_s: float) -> Sequence[str]:
        return list(self._connection.execute(_GONE, {"longer": longer_than_s}).scalars())


def _runner(row: AnyRow) -> Runner:
    return Runner(
        name=row.name,
        session=SessionId(row.session),
        token_id=TokenId(row.token_id),
        status=RunnerStatus(row.status),
        queues=tuple(row.queues),
        slots=row.slots,
        free_slots=row.free_slots,
        own_queue=row.own_queue,
        holds=tuple(row.holds),
        isolation=row.isolation,
        version=row.version,
        protocol=row.protocol,
        registered_at=row.registered_at,
        seen_at=row.seen_at,
        kept_since=row.kept_since,
        kept_s=row.kept_s,
    )
