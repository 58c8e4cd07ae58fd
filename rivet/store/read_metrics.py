"""What metrics say of runs, jobs, runners and logs: asked of PostgreSQL at each scrape, by indexes alone.

What ended long enough ago is added up in `tally` once, by control, and not looked at again. So every API
process tells the same sums, over restarts and when pipelines are deleted. A scrape only reads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, text

from rivet.store.failures import told_as_unavailable

SETTLED_S = 300.0
"""No transaction takes so long: what ended before that is in the tables, and none comes after it."""
MOST_RUNNERS = 500
MOST_ADDED = 50_000
"""Ends of runs, and of attempts, that are added up in one transaction, but for those of the same moment."""
MOST_LATELY = 200_000
"""Ends that a scrape counts itself. More are there only after an upgrade from a version without sums."""

_ENDED = """
    SELECT '{kind}' AS kind, status,
           coalesce({bounds}[{n} - width_bucket(-seconds, {negated}) + 1], 'Infinity') AS bound,
           count(*) AS ended, sum(seconds) AS seconds, sum(lines) AS lines
    FROM (
        SELECT status, {lines} AS lines, greatest(
            extract(epoch FROM ended_at - coalesce(started_at, ended_at)), 0)::double precision AS seconds
        FROM {table} WHERE ended_at > {after} AND ended_at <= {until}
    ) AS each GROUP BY 1, 2, 3
"""
_LATELY = "(SELECT until FROM tally_until)"
_SETTLED = f"now() - interval '{SETTLED_S} s'"
_ADDED_UNTIL = text(
    f"SELECT until::text FROM tally_until WHERE until < {_SETTLED} - interval '{SETTLED_S} s' FOR UPDATE"
)
_NEXT = """
    (SELECT ended_at FROM {table} WHERE ended_at > CAST(:after AS timestamptz) AND ended_at <= {settled}
     ORDER BY ended_at OFFSET :most LIMIT 1)
"""
_UP_TO = text(
    f"""
    SELECT up_to::text AS up_to, up_to < {_SETTLED} AS is_more FROM (
        SELECT least({_NEXT.format(table="run", settled=_SETTLED)},
                     {_NEXT.format(table="attempt", settled=_SETTLED)}, {_SETTLED}) AS up_to
    ) AS slice
    """
)
_NOW_UNTIL = text("UPDATE tally_until SET until = CAST(:until AS timestamptz)")
_LATELY_MORE = """
    EXISTS (
        SELECT FROM {table} WHERE ended_at > {lately} AND ended_at <= now() ORDER BY ended_at OFFSET :most
    )
"""
_IS_BEHIND = text(
    "SELECT " + " OR ".join(
        _LATELY_MORE.format(table=table, lately=_LATELY) for table in ("run", "attempt")
    )
)
_QUEUES = text(
    """
    SELECT job.queue, count(*) AS jobs, coalesce(max(extract(epoch FROM
               now() - greatest(outbox.created_at, outbox.not_before))), 0) AS oldest_s
    FROM outbox JOIN job ON job.id = outbox.job_id WHERE job.status = 'queued' GROUP BY job.queue
    """
)
_RUNS = text("SELECT status, count(*) AS many FROM run WHERE ended_at IS NULL GROUP BY status")
_JOBS = text(
    """
    SELECT job.status, count(*) AS many FROM run JOIN job ON job.run_id = run.id
    WHERE run.ended_at IS NULL GROUP BY job.status
    """
)
_RUNNING_LINES = text("SELECT coalesce(sum(lines), 0) FROM attempt WHERE status = 'running'")
_STORED = text(
    "SELECT coalesce(sum(pg_total_relation_size(relid)), 0) FROM pg_partition_tree('record') WHERE isleaf"
)
_RUNNERS = text(
    """
    SELECT name, slots, free_slots, CASE
               WHEN status <> 'offline' AND seen_at < now() - make_interval(secs => :lease) THEN 'lost'
               ELSE status END AS status
    FROM runner WHERE status <> 'offline' ORDER BY seen_at DESC LIMIT :most
    """
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How many ended so, by the upper bound of what they took (the last is infinite), and in all."""

    by_bound: Mapping[float, int]
    seconds: float
    lines: int

    @property
    def many(self) -> int:
        return sum(self.by_bound.values())


@dataclass(frozen=True, slots=True)
class RunnerSeen:
    name: str
    status: str
    slots: int
    free_slots: int


@dataclass(frozen=True, slots=True)
class Measured:
    """`queues` are jobs and the oldest one's seconds; `runs` and `stages` are those ended, by status.

    Those are empty where not `is_added_up`: then what ended before an upgrade is still being added up, and
    sums that grow until they are right would look as if all of it ended now.
    """

    queues: Mapping[str, tuple[int, float]]
    open_runs: Mapping[str, int]
    open_jobs: Mapping[str, int]
    runs: Mapping[str, Ended]
    stages: Mapping[str, Ended]
    running_lines: int
    stored_bytes: int
    runners: Sequence[RunnerSeen]
    is_added_up: bool = True


class MetricReads:
    """`run_bounds` and `stage_bounds` are seconds, ascending: by them durations are counted."""

    def __init__(
        self,
        engine: Engine,
        lease_s: float,
        run_bounds: Sequence[float],
        stage_bounds: Sequence[float],
        *,
        most_added: int = MOST_ADDED,
        most_lately: int = MOST_LATELY,
    ) -> None:
        self._engine = engine
        self._lease_s = lease_s
        self._most_added = most_added
        self._most_lately = most_lately
        lately = self._both(run_bounds, stage_bounds, _LATELY, "now()")
        self._ended = text(f"SELECT kind, status, bound, ended, seconds, lines FROM tally UNION ALL {lately}")
        settled = self._both(
            run_bounds, stage_bounds, "CAST(:after AS timestamptz)", "CAST(:until AS timestamptz)"
        )
        self._add = text(
            f"""
            INSERT INTO tally (kind, status, bound, ended, seconds, lines) {settled}
            ON CONFLICT (kind, status, bound) DO UPDATE SET ended = tally.ended + excluded.ended,
                seconds = tally.seconds + excluded.seconds, lines = tally.lines + excluded.lines
            """
        )

    def measured(self) -> Measured:
        """As it is now. Raises Unavailable."""
        with told_as_unavailable(), self._engine.connect() as connection:
            is_behind = connection.execute(_IS_BEHIND, {"most": self._most_lately}).scalar_one()
            rows = [] if is_behind else connection.execute(self._ended).all()
            return Measured(
                queues={
                    row.queue: (row.jobs, max(0.0, float(row.oldest_s)))
                    for row in connection.execute(_QUEUES)
                },
                open_runs={row.status: row.many for row in connection.execute(_RUNS)},
                open_jobs={row.status: row.many for row in connection.execute(_JOBS)},
                runs=_by_status("run", rows),
                stages=_by_status("stage", rows),
                running_lines=int(connection.execute(_RUNNING_LINES).scalar_one()),
                stored_bytes=int(connection.execute(_STORED).scalar_one()),
                runners=[
                    RunnerSeen(row.name, row.status, row.slots, row.free_slots)
                    for row in connection.execute(_RUNNERS, {"lease": self._lease_s, "most": MOST_RUNNERS})
                ],
                is_added_up=not is_behind,
            )

    def add_up(self) -> bool:
        """Put some of what has settled into the tally; whether there is more. Several at once wait.

        Runs that are deleted before that would be missing from the sums. Raises Unavailable.
        """
        with told_as_unavailable(), self._engine.begin() as connection:
            after = connection.execute(_ADDED_UNTIL).scalar_one_or_none()
            if after is None:
                return False
            asked = {"after": after, "most": self._most_added}
            found = connection.execute(_UP_TO, asked).one()
            connection.execute(self._add, {"after": after, "until": found.up_to})
            connection.execute(_NOW_UNTIL, {"until": found.up_to})
            return bool(found.is_more)

    def _both(
        self, run_bounds: Sequence[float], stage_bounds: Sequence[float], after: str, until: str
    ) -> str:
        runs = _ENDED.format(kind="run", table="run", lines="0", after=after, until=until, **_sql(run_bounds))
        stages = _ENDED.format(
            kind="stage", table="attempt", lines="lines", after=after, until=until, **_sql(stage_bounds)
        )
        return f"{runs} UNION ALL {stages}"


def _sql(bounds: Sequence[float]) -> dict[str, Any]:
    """The bounds as SQL has them, negated too: a bound holds what is just as long, so we count from above."""

    def array(numbers: Sequence[float]) -> str:
        return f"(ARRAY[{','.join(repr(float(number)) for number in numbers)}]::double precision[])"

    return {"bounds": array(bounds), "negated": array([-b for b in reversed(bounds)]), "n": len(bounds)}


def _by_status(kind: str, rows: Sequence[Any]) -> dict[str, Ended]:
    found: dict[str, Ended] = {}
    for row in rows:
        if row.kind != kind:
            continue
        before = found.get(row.status, Ended({}, 0.0, 0))
        counted = {**before.by_bound, row.bound: before.by_bound.get(row.bound, 0) + int(row.ended)}
        found[row.status] = Ended(
            counted, before.seconds + float(row.seconds), before.lines + int(row.lines)
        )
    return found
