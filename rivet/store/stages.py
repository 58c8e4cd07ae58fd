"""Stages, their attempts, and the values they hand on."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    Executable,
    Select,
    Text,
    TextClause,
    bindparam,
    case,
    delete,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from rivet.domain.ids import Epoch, JobId, RunId, StageId, StageKey
from rivet.domain.stage import Attempt, Spec, Stage
from rivet.domain.states import AttemptStatus, Reason, StageStatus
from rivet.domain.transitions import ATTEMPT as ATTEMPT_MOVES
from rivet.domain.transitions import STAGE as MOVES
from rivet.domain.transitions import STAGE_AGAIN
from rivet.engine.run_ports import Ended
from rivet.store.made import Made
from rivet.store.plain_json import storable, to_json
from rivet.store.records import MOST_LINES
from rivet.store.runs import reason_of
from rivet.store.seen import Seen
from rivet.store.tables import ATTEMPT, OUTPUT, STAGE, AnyRow

MAX_OUTPUT_NAME = 255
MAX_OUTPUT_BYTES = 64 * 1024

_OF_JOB = select(*STAGE.c).where(STAGE.c.job_id == bindparam("job")).order_by(STAGE.c.ordinal)
_OF_RUN = select(*STAGE.c).where(STAGE.c.run_id == bindparam("run")).order_by(STAGE.c.ordinal)
_TO: BindParameter[str] = bindparam("to", type_=Text)
_MOVE = (
    update(STAGE)
    .where(STAGE.c.id == bindparam("stage"), STAGE.c.status == bindparam("origin"))
    .values(
        status=_TO,
        reason=bindparam("why"),
        waiting_since=case((_TO.in_([StageStatus.WAITING.value]), func.now()), else_=None),
    )
    .returning(*STAGE.c)
)
_BEGIN_AGAIN = (
    update(STAGE)
    .where(STAGE.c.id == bindparam("stage"), STAGE.c.status == bindparam("was"))
    .values(
        status=StageStatus.PENDING.value,
        reason=None,
        waiting_since=None,
        cancelled_by=None,
        approved_by=None,
    )
)
_ASK_CANCEL = (
    update(STAGE)
    .where(
        STAGE.c.id == bindparam("stage"),
        STAGE.c.status == bindparam("origin"),
        STAGE.c.cancelled_by.is_(None),
    )
    .values(cancelled_by=bindparam("by"))
)
_MAKE_ROOM = (
    update(STAGE)
    .where(STAGE.c.run_id == bindparam("run"), STAGE.c.ordinal > bindparam("place"))
    .values(ordinal=STAGE.c.ordinal + bindparam("count"))
)
_BECOME = update(STAGE).where(STAGE.c.id == bindparam("stage"), STAGE.c.status == StageStatus.PENDING.value)
_NOTE_APPROVAL = update(STAGE).where(STAGE.c.id == bindparam("stage")).values(approved_by=bindparam("by"))
_EXPIRED = text(
    """
    SELECT run_id, id FROM stage
    WHERE status = 'waiting' AND (spec #>> '{approval,timeout_s}') IS NOT NULL
      AND waiting_since < now() - make_interval(secs => (spec #>> '{approval,timeout_s}')::double precision)
    ORDER BY run_id, id LIMIT :most
    """
)
_SUPERSEDED = text(
    """
    SELECT stage.run_id, stage.id FROM stage JOIN run ON run.id = stage.run_id
    WHERE stage.status = 'waiting' AND EXISTS (
        SELECT FROM run AS newer
        WHERE newer.pipeline_id = run.pipeline_id AND newer.id > run.id AND newer.status = 'passed'
    )
    ORDER BY stage.run_id, stage.id LIMIT :most
    """
)
_START = text(
    f"""
    WITH started AS (
        INSERT INTO attempt (stage_id, number, job_id, epoch, status, reason, runner, started_at)
        SELECT :stage, :number, job.id, job.epoch, :status, :why, :runner, :at FROM job
        WHERE job.id = :job AND job.epoch = :epoch
        ON CONFLICT DO NOTHING
        RETURNING stage_id, number
    )
    UPDATE stage SET attempts = greatest(stage.attempts, started.number)
    FROM started WHERE stage.id = started.stage_id
    RETURNING {", ".join(f"stage.{column.name}" for column in STAGE.c)}
    """
).columns(*STAGE.c)
_BEGIN = text(
    f"""
    WITH started AS (
        INSERT INTO attempt (stage_id, number, job_id, epoch, status, reason, runner, started_at)
        SELECT stage.id, :number, job.id, job.epoch, :status, :why, :runner, :at
        FROM job JOIN stage ON stage.id = :stage AND stage.status = :origin
        WHERE job.id = :job AND job.epoch = :epoch
        ON CONFLICT DO NOTHING
        RETURNING stage_id, number
    )
    UPDATE stage SET attempts = greatest(stage.attempts, started.number), status = :to, reason = NULL,
        waiting_since = NULL
    FROM started WHERE stage.id = started.stage_id
    RETURNING {", ".join(f"stage.{column.name}" for column in STAGE.c)}
    """
).columns(*STAGE.c)
_END = (
    update(ATTEMPT)
    .where(
        ATTEMPT.c.stage_id == bindparam("stage"),
        ATTEMPT.c.number == bindparam("which"),
        ATTEMPT.c.epoch == bindparam("in_epoch"),
        ATTEMPT.c.status == AttemptStatus.RUNNING.value,
    )
    .values(
        status=_TO,
        reason=bindparam("why"),
        exit_code=bindparam("code"),
        error=bindparam("what", type_=ATTEMPT.c.error.type),
        ended_at=func.now(),
    )
)
_END_BOTH = text(
    f"""
    WITH ended AS (
        UPDATE attempt SET status = :end, reason = :attempt_why, exit_code = :code, error = :what,
            ended_at = now(), lines = lines + :more
        WHERE stage_id = :stage AND number = :which AND epoch = :in_epoch AND status = 'running'
    )
    UPDATE stage SET status = :to, reason = :why, waiting_since = NULL WHERE id = :stage AND status = :origin
    RETURNING {", ".join(column.name for column in STAGE.c)}
    """
).columns(*STAGE.c).bindparams(bindparam("what", type_=ATTEMPT.c.error.type))
_ADD_LINES = (
    update(ATTEMPT)
    .where(ATTEMPT.c.stage_id == bindparam("stage"), ATTEMPT.c.number == bindparam("which"))
    .values(lines=ATTEMPT.c.lines + bindparam("more"))
)
_LIVE = select(*ATTEMPT.c).where(
    ATTEMPT.c.job_id == bindparam("job"), ATTEMPT.c.status == AttemptStatus.RUNNING.value
)
_OVERDUE = text(
    """
    SELECT job.id FROM job
    JOIN attempt ON attempt.job_id = job.id AND attempt.status = 'running' AND attempt.epoch = job.epoch
    JOIN stage ON stage.id = attempt.stage_id
    WHERE job.status = 'running'
      AND attempt.started_at + make_interval(secs => stage.timeout_s + :grace) < now()
    ORDER BY job.id
    """
)
_OUTPUTS = (
    select(OUTPUT.c.name, OUTPUT.c.value)
    .join(STAGE, (STAGE.c.run_id == OUTPUT.c.run_id) & (STAGE.c.key == OUTPUT.c.stage))
    .where(OUTPUT.c.run_id == bindparam("run"))
    .order_by(STAGE.c.ordinal)
)
_OUTPUT_LISTS = text(
    """
    SELECT output.name, output.value FROM output
    JOIN stage ON stage.run_id = output.run_id AND stage.key = output.stage
    WHERE output.run_id = :run AND (stage.spec ->> 'row') IS NOT NULL
    ORDER BY stage.ordinal
    """
)
_COPY_OUTPUTS = text(
    """
    INSERT INTO output (run_id, stage, name, value)
    SELECT :run, stage, name, value FROM output WHERE run_id = :origin AND stage = ANY (:stages)
    """
)
_FORGET_OUTPUTS = delete(OUTPUT).where(
    OUTPUT.c.run_id == bindparam("run"), OUTPUT.c.stage == bindparam("of_stage")
)
_NEW_OUTPUT = upsert(OUTPUT)
_SET_OUTPUT = _NEW_OUTPUT.on_conflict_do_update(
    index_elements=["run_id", "stage", "name"], set_={"value": _NEW_OUTPUT.excluded.value}
)


class PostgresStages:
    def __init__(self, connection: Connection, made: Made, seen: Seen) -> None:
        self._connection = connection
        self._made = made
        self._seen = seen
        self._lines: dict[tuple[StageId, int], int] = {}

    def add(self, stages: Iterable[Stage]) -> None:
        for stage in stages:
            self._seen.added("stages", stage.run_id, stage)
            self._seen.added("stages", stage.job_id, stage)
            self._made.add_stage(stage)

    def of_job(self, job: JobId) -> Sequence[Stage]:
        known: Sequence[Stage] = self._seen.stages_of(job)
        return known or self._seen.read("stages", job, lambda: self._read(_OF_JOB, {"job": job}))

    def of_run(self, run: RunId) -> Sequence[Stage]:
        return self._seen.read("stages", run, lambda: self._read(_OF_RUN, {"run": run}))

    def _read(self, query: Select[Any], of: Mapping[str, Any]) -> Sequence[Stage]:
        return [_stage(row) for row in self._connection.execute(query, of)]

    def move(self, stage: Stage, to: StageStatus, *, reason: Reason | None = None) -> bool:
        MOVES.check(stage.status, to)
        if to is StageStatus.PENDING:
            self._connection.execute(_FORGET_OUTPUTS, {"run": stage.run_id, "of_stage": stage.key})
        told = {"stage": stage.id, "origin": stage.status.value, "to": to.value, "why": reason}
        return self._wrote(_MOVE, told)

    def begin(self, stage: Stage, attempt: Attempt) -> bool:
        MOVES.check(stage.status, StageStatus.RUNNING)
        told = _started(attempt) | {"origin": stage.status.value, "to": StageStatus.RUNNING.value}
        return self._wrote(_BEGIN, told)

    def end(self, stage: Stage, to: StageStatus, ended: Ended, *, reason: Reason | None) -> bool:
        MOVES.check(stage.status, to)
        ATTEMPT_MOVES.check(AttemptStatus.RUNNING, ended.status)
        told = {
            "stage": stage.id,
            "origin": stage.status.value,
            "to": to.value,
            "why": reason,
            "which": ended.number,
            "in_epoch": ended.epoch,
            "end": ended.status.value,
            "attempt_why": ended.reason,
            "code": _exit_code(ended.exit_code),
            "what": ended.error,
        }
        more = self._lines.pop((stage.id, ended.number), 0)
        if to is StageStatus.PENDING:
            self._connection.execute(_FORGET_OUTPUTS, {"run": stage.run_id, "of_stage": stage.key})
        return self._wrote(_END_BOTH, told | {"more": more})

    def _wrote(self, statement: Executable, told: Mapping[str, Any]) -> bool:
        """Whether it wrote a stage, which is then known as PostgreSQL says it is."""
        row = self._connection.execute(statement, told).one_or_none()
        if row is None:
            self._seen.changed("stages")
            return False
        self._seen.wrote("stages", _stage(row))
        return True

    def begin_again(self, stage: Stage) -> bool:
        STAGE_AGAIN.check(stage.status, StageStatus.PENDING)
        self._seen.changed("stages")
        told = {"stage": stage.id, "was": stage.status.value}
        begun = self._connection.execute(_BEGIN_AGAIN, told)
        self._connection.execute(_FORGET_OUTPUTS, {"run": stage.run_id, "of_stage": stage.key})
        return begun.rowcount == 1

    def ask_cancel(self, stage: Stage, actor: str) -> bool:
        if MOVES.is_terminal(stage.status):
            return False
        self._seen.changed("stages")
        asked = self._connection.execute(
            _ASK_CANCEL, {"stage": stage.id, "origin": stage.status.value, "by": storable(actor)}
        )
        return asked.rowcount == 1

    def make_room(self, run: RunId, ordinal: int, count: int) -> None:
        self._seen.changed("stages")
        self._connection.execute(_MAKE_ROOM, {"run": run, "place": ordinal, "count": count})

    def become(self, stage: Stage, copy: Stage) -> None:
        self._seen.changed("stages")
        told = {"key": copy.key, "name": storable(copy.name), "spec": copy.spec.as_dict()}
        self._connection.execute(_BECOME.values(told), {"stage": stage.id})

    def note_approval(self, stage: Stage, actor: str) -> None:
        self._seen.changed("stages")
        self._connection.execute(_NOTE_APPROVAL, {"stage": stage.id, "by": storable(actor)})

    def expired(self, limit: int) -> Sequence[tuple[RunId, StageId]]:
        return self._asked(_EXPIRED, limit)

    def superseded(self, limit: int) -> Sequence[tuple[RunId, StageId]]:
        return self._asked(_SUPERSEDED, limit)

    def _asked(self, query: TextClause, limit: int) -> Sequence[tuple[RunId, StageId]]:
        rows = self._connection.execute(query, {"most": limit})
        return [(RunId(row.run_id), StageId(row.id)) for row in rows]

    def start_attempt(self, attempt: Attempt) -> bool:
        return self._wrote(_START, _started(attempt))

    def end_attempt(
        self,
        stage: StageId,
        number: int,
        epoch: Epoch,
        status: AttemptStatus,
        *,
        reason: Reason | None,
        exit_code: int | None,
        error: Mapping[str, Any] | None,
    ) -> bool:
        """Raises ValueError for an exit code that no process ever had."""
        ATTEMPT_MOVES.check(AttemptStatus.RUNNING, status)
        ended = self._connection.execute(
            _END,
            {
                "stage": stage,
                "which": number,
                "in_epoch": epoch,
                "to": status.value,
                "why": reason,
                "code": _exit_code(exit_code),
                "what": error,
            },
        )
        return ended.rowcount == 1

    def add_lines(self, stage: StageId, number: int, lines: int) -> None:
        """Raises ValueError for a count that no chunk can have."""
        if not 0 <= lines <= MOST_LINES:
            raise ValueError("a number of lines out of range")
        self._lines[stage, number] = self._lines.get((stage, number), 0) + lines

    def write(self) -> None:
        """The lines that were added and went with no attempt's end, before the commit."""
        while self._lines:
            (stage, number), lines = self._lines.popitem()
            self._connection.execute(_ADD_LINES, {"stage": stage, "which": number, "more": lines})

    def live_attempts(self, job: JobId) -> Sequence[Attempt]:
        self.write()
        return [_attempt(row) for row in self._connection.execute(_LIVE, {"job": job})]

    def overdue(self, grace_s: float) -> Sequence[JobId]:
        return [JobId(job) for job in self._connection.execute(_OVERDUE, {"grace": grace_s}).scalars()]

    def outputs(self, run: RunId) -> Mapping[str, Any]:
        return {row.name: row.value for row in self._connection.execute(_OUTPUTS, {"run": run})}

    def output_lists(self, run: RunId) -> Mapping[str, Sequence[Any]]:
        lists: dict[str, list[Any]] = {}
        for row in self._connection.execute(_OUTPUT_LISTS, {"run": run}):
            lists.setdefault(row.name, []).append(row.value)
        return lists

    def set_output(self, run: RunId, stage: StageKey, name: str, value: Any) -> None:
        """Raises ValueError for a name or value over its bound."""
        if not 0 < len(name) <= MAX_OUTPUT_NAME or len(to_json(value)) > 2 * MAX_OUTPUT_BYTES:
            raise ValueError("an output's name or value is over its bound")
        self._connection.execute(
            _SET_OUTPUT, {"run_id": run, "stage": stage, "name": storable(name), "value": value}
        )

    def copy_outputs(self, origin: RunId, run: RunId, stages: Sequence[StageKey]) -> None:
        self._connection.execute(_COPY_OUTPUTS, {"origin": origin, "run": run, "stages": list(stages)})


def _started(attempt: Attempt) -> dict[str, Any]:
    return {
        "stage": attempt.stage_id,
        "number": attempt.number,
        "job": attempt.job_id,
        "epoch": attempt.epoch,
        "status": attempt.status.value,
        "why": attempt.reason,
        "runner": attempt.runner,
        "at": attempt.started_at,
    }


def _exit_code(told: int | None) -> int | None:
    """Raises ValueError for one that no process ever had."""
    if told is not None and not -(2**31) <= told < 2**32:
        raise ValueError("an exit code out of range")
    return told


def _stage(row: AnyRow) -> Stage:
    return Stage(
        id=StageId(row.id),
        run_id=RunId(row.run_id),
        job_id=JobId(row.job_id),
        key=StageKey(row.key),
        name=row.name,
        ordinal=row.ordinal,
        status=StageStatus(row.status),
        reason=reason_of(row.reason),
        env=row.env,
        timeout_s=row.timeout_s,
        attempts=row.attempts,
        cancelled_by=row.cancelled_by,
        approved_by=row.approved_by,
        spec=Spec.read(row.spec),
        waiting_since=row.waiting_since,
        from_run=None if row.from_run is None else RunId(row.from_run),
    )


def _attempt(row: AnyRow) -> Attempt:
    return Attempt(
        stage_id=StageId(row.stage_id),
        number=row.number,
        job_id=JobId(row.job_id),
        epoch=Epoch(row.epoch),
        status=AttemptStatus(row.status),
        reason=reason_of(row.reason),
        runner=row.runner,
        started_at=row.started_at,
        ended_at=row.ended_at,
        exit_code=row.exit_code,
        error=row.error,
        lines=row.lines,
    )
