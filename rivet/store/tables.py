"""The tables as SQLAlchemy sees them; `migrations/` makes them, and a test compares the two."""

from typing import Any

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    FetchedValue,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)

METADATA = MetaData()
AnyRow = Row[*tuple[Any, ...]]
_TIME = DateTime(timezone=True)


def _id(name: str = "id") -> Column[Any]:
    return Column(name, Uuid, primary_key=True)


def _made(name: str, kind: Any, *, primary_key: bool = False) -> Column[Any]:
    """A column whose value PostgreSQL gives where none is given."""
    return Column(name, kind, nullable=False, server_default=FetchedValue(), primary_key=primary_key)


PROJECT = Table(
    "project",
    METADATA,
    _made("id", Uuid, primary_key=True),
    Column("slug", Text, nullable=False, unique=True),
    _made("created_at", _TIME),
    Column("deleted_at", _TIME),  # its row goes when nothing that is stored of it is left
)

PIPELINE = Table(
    "pipeline",
    METADATA,
    _made("id", Uuid, primary_key=True),
    Column("project_id", Uuid, nullable=False),
    Column("slug", Text, nullable=False),
    Column("name", Text, nullable=False),
    _made("next_run", Integer),  # the number of the run to come
    _made("next_version", Integer),  # the number of the version to come
    _made("created_at", _TIME),
    Column("keep_days", Integer),  # how long its runs stay; null: as the setting says
    Column("keep_runs", Integer),  # how many of them stay
    UniqueConstraint("project_id", "slug"),
)

VERSION = Table(
    "version",
    METADATA,
    _made("id", Uuid, primary_key=True),
    Column("pipeline_id", Uuid, nullable=False),
    Column("number", Integer),  # null: never published
    Column("lua", Text, nullable=False),
    Column("definition", JSON, nullable=False),
    Column("digest", Text, nullable=False),
    _made("created_at", _TIME),
    UniqueConstraint("pipeline_id", "number"),
)

RUN = Table(
    "run",
    METADATA,
    _id(),
    Column("project_id", Uuid, nullable=False),
    Column("pipeline_id", Uuid, nullable=False),
    Column("version_id", Uuid, nullable=False),
    Column("number", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("inputs", JSON, nullable=False),
    Column("facts", JSON, nullable=False),
    Column("plan", JSON, nullable=False),  # what the definition said for this run
    Column("actor", Text, nullable=False),
    Column("trigger", Text, nullable=False),
    _made("created_at", _TIME),
    Column("started_at", _TIME),
    Column("ended_at", _TIME),
    Column("cancelled_by", Text),
    Column("waiting_since", _TIME),  # for a person; such time does not count
    _made("waited_s", Double),
    Column("turn", Text),  # the group in which runs take turns
    Column("folder", LargeBinary),  # the SHA-256 of the one that it starts from
    Column("rerun_of", Uuid),  # the run that it runs again, which may be gone
    UniqueConstraint("pipeline_id", "number"),
)

RUN_CLOCK = Table(
    "run_clock",
    METADATA,
    Column("run_id", Uuid, primary_key=True),
    _made("pos", BigInteger),  # the last position given; the row's lock is the run's
    _made("lines", BigInteger),
)

JOB = Table(
    "job",
    METADATA,
    _id(),
    Column("run_id", Uuid, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("queue", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("epoch", Integer, nullable=False),
    Column("on_lost", Text, nullable=False),
    Column("runner", Text),
    Column("session", Uuid),
    Column("isolation", Text),  # as the runner that claimed it said
    Column("last_seq", BigInteger),
    Column("ingested_seq", BigInteger, nullable=False),
    Column("queued_at", _TIME),
    Column("started_at", _TIME),
    Column("ended_at", _TIME),
    Column("waits_for", ARRAY(Uuid), nullable=False),
    Column("starts_from", Uuid),
    Column("grouped", JSON(none_as_null=True)),  # the group of a `parallel` or `matrix`
    Column("is_last", Boolean, nullable=False),
    Column("is_cancelled", Boolean, nullable=False),  # its end was asked for
    Column("origin", JSON(none_as_null=True)),  # in a rerun: whose workspace it has
    UniqueConstraint("run_id", "ordinal"),
)

STAGE = Table(
    "stage",
    METADATA,
    _id(),
    Column("run_id", Uuid, nullable=False),
    Column("job_id", Uuid, nullable=False),
    Column("key", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("waiting_since", _TIME),
    Column("cancelled_by", Text),  # asked for by whom; it may still be running
    Column("approved_by", Text),
    Column("env", JSON, nullable=False),
    Column("timeout_s", Double, nullable=False),
    Column("spec", JSON, nullable=False),  # what the definition says of it
    Column("from_run", Uuid),  # in a rerun: the run in which it really ran, which may be gone
    _made("attempts", BigInteger),
    UniqueConstraint("run_id", "key"),
)

ATTEMPT = Table(
    "attempt",
    METADATA,
    _id("stage_id"),
    Column("number", BigInteger, primary_key=True),
    Column("job_id", Uuid, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("runner", Text, nullable=False),
    Column("exit_code", BigInteger),
    Column("error", JSON(none_as_null=True)),
    Column("started_at", _TIME, nullable=False),
    Column("ended_at", _TIME),
    _made("lines", BigInteger),
)

LEASE = Table(
    "lease",
    METADATA,
    _id("job_id"),
    Column("epoch", Integer, nullable=False),
    Column("session", Uuid, nullable=False),
    Column("renewed_at", _TIME, nullable=False),
    _made("helped", Boolean),  # its runner was asked to publish again
    _made("begun", ARRAY(Text)),  # attempts that its holder said to have begun: `NUMBER STAGE`
)

OUTBOX = Table(  # of queued jobs alone: a row goes when its job leaves the queue
    "outbox",
    METADATA,
    _id("job_id"),
    Column("epoch", Integer, primary_key=True),
    Column("queue", Text, nullable=False),
    _made("created_at", _TIME),
    Column("published_at", _TIME),
    Column("generation", Text),
    Column("not_before", _TIME),
)

RUNNER = Table(
    "runner",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("session", Uuid, nullable=False, unique=True),
    Column("token_id", Uuid, nullable=False),
    Column("status", Text, nullable=False),
    Column("queues", ARRAY(Text), nullable=False),
    Column("slots", Integer, nullable=False),
    Column("free_slots", Integer, nullable=False),
    Column("own_queue", Integer, nullable=False),
    Column("holds", ARRAY(Text), nullable=False),
    Column("isolation", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("protocol", Integer, nullable=False),
    Column("registered_at", _TIME, nullable=False),
    Column("seen_at", _TIME, nullable=False),
    Column("kept_since", _TIME),  # it has all workspaces that jobs have left since
    Column("kept_s", Double),  # each for so long at the most
)

RECORD = Table(  # in a partition a day of the run's start: `store.record_days`
    "record",
    METADATA,
    Column("run_id", Uuid, primary_key=True),
    Column("pos", BigInteger, primary_key=True),
    Column("type", Text, nullable=False),
    Column("at", _TIME, nullable=False),
    Column("job_id", Uuid),
    Column("epoch", Integer),
    Column("seq", BigInteger),  # null: control's own
    Column("stage", Text),
    Column("attempt", BigInteger),
    Column("late", Boolean, nullable=False),
    Column("first_line", BigInteger),  # of a log chunk, as is `lines`
    Column("lines", Integer),
    Column("data", JSON, nullable=False),
    Column("body", LargeBinary, nullable=False),  # a log chunk's lines, packed with zstd
    Column("moved_to", BigInteger),  # where in the run's blob the body is instead, from 0
    Column("moved_size", Integer),
    UniqueConstraint("run_id", "job_id", "epoch", "seq"),
)

DROPPED_DAY = Table(  # partitions of records that are gone, by the ids of their runs
    "dropped_day",
    METADATA,
    Column("from_id", Uuid, primary_key=True),
    Column("to_id", Uuid, nullable=False),  # exclusive
    _made("dropped_at", _TIME),
)

OUTPUT = Table(
    "output",
    METADATA,
    Column("run_id", Uuid, primary_key=True),
    Column("stage", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", JSON(none_as_null=False), nullable=False),
)

PART = Table(
    "part",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("beat_at", _TIME, nullable=False),
    Column("unbroken_since", _TIME, nullable=False),
)

DUTY = Table(  # things that one thread of all processes does at a time
    "duty",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("holder", Uuid, nullable=False),
    Column("held_until", _TIME, nullable=False),
)

SECRET = Table(
    "secret",
    METADATA,
    Column("project_id", Uuid, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("key_id", Text, nullable=False),  # which key opens it
    Column("nonce", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("pipelines", ARRAY(Text), nullable=False),
    Column("branches", ARRAY(Text), nullable=False),
    Column("all_pipelines", Boolean, nullable=False),
    Column("set_by", Text, nullable=False),
    _made("created_at", _TIME),
    _made("updated_at", _TIME),
)

PAUSE = Table(
    "pause",
    METADATA,
    Column("kind", Text, primary_key=True),  # `pipeline`, `queue` or `runner`
    Column("target", Text, primary_key=True),  # the pipeline's id, or a name
    Column("why", Text, nullable=False),
    Column("actor", Text, nullable=False),
    _made("since", _TIME),
)

TOKEN = Table(
    "token",
    METADATA,
    _made("id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("queues", ARRAY(Text), nullable=False),
    _made("created_at", _TIME),
    Column("revoked_at", _TIME),
)

ANSWERED = Table(  # POST requests that came with an Idempotency-Key
    "answered",
    METADATA,
    Column("token_id", Uuid, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request", LargeBinary, nullable=False),  # the SHA-256 of what was asked
    Column("made_id", Uuid, nullable=False),  # of what the request makes
    _made("begun_at", _TIME),  # last
    _made("created_at", _TIME),
    Column("answer", LargeBinary),  # sealed; null: not answered yet
)

TALLY = Table(  # of what ended up to `tally_until`, for metrics; pipelines that go leave it as it is
    "tally",
    METADATA,
    Column("kind", Text, primary_key=True),  # `run` or `stage`
    Column("status", Text, primary_key=True),
    Column("bound", Double, primary_key=True),  # seconds that none of these took longer than
    Column("ended", BigInteger, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("lines", BigInteger, nullable=False),
)

TALLY_UNTIL = Table("tally_until", METADATA, Column("until", _TIME, primary_key=True))  # one row

SIZE_SAMPLE = Table(  # what the parts of the system took, every few hours
    "size_sample",
    METADATA,
    Column("taken_at", _TIME, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
)
