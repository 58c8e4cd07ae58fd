"""The ledger of what is stored: every table, key of Redis, file and folder, with the rule by which it goes.

Nothing may grow for ever. Tests fail on a table, a key, a file or a folder that is not in here. Names are
patterns as the shell has them: `*` stands for anything but a `/`, `**` for whole folders.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Rule(StrEnum):
    """What makes a thing go."""

    AGE = "by age"
    COUNT = "by number"
    SIZE = "by size"
    PARENT = "with what it belongs to"
    UNUSED = "when nothing uses it"
    BOUNDED = "bounded"
    BY_HAND = "by hand"


@dataclass(frozen=True, slots=True)
class Kept:
    """One line of the ledger. `says` is how long or how much; `verb` is the file of the engine that sees to
    it, none where it goes by itself. `group` is under which name its size is told, of tables alone.
    """

    name: str
    rules: tuple[Rule, ...]
    says: str
    verb: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Keep:
    """How long, and how much of what, is kept: as the settings `RIVET_KEEP_…` say."""

    runs_days: int
    logs_days: int
    artifacts_days: int
    artifacts_bytes: int
    caches_days: int
    caches_bytes: int
    runners_days: int


RUNS, LOGS, FILES, REPORTS, OTHER = "runs", "logs", "kept files", "reports", "everything else"

_WITH_RUN = (Rule.PARENT,)
TABLES = (
    Kept(
        "project", (Rule.BY_HAND,), "until `rivet project delete`, and the last of its files is gone",
        group=OTHER,
    ),
    Kept("pipeline", (Rule.BY_HAND,), "until `rivet pipeline delete`", group=OTHER),
    Kept(
        "version", (Rule.BY_HAND, Rule.UNUSED),
        "published: with their pipeline; others: a day old and their last run gone",
        "drop_unused", RUNS,
    ),
    Kept(
        "run", (Rule.AGE, Rule.COUNT),
        "`RIVET_KEEP_RUNS_DAYS` after their end, or what the pipeline says; never the last that passed",
        "drop_old_runs", RUNS,
    ),
    Kept("run_clock", _WITH_RUN, "its run", group=RUNS),
    Kept("job", _WITH_RUN, "its run", group=RUNS),
    Kept("stage", _WITH_RUN, "its run", group=RUNS),
    Kept("attempt", _WITH_RUN, "its stage", group=RUNS),
    Kept("output", _WITH_RUN, "its run", group=RUNS),
    Kept("lease", _WITH_RUN, "its job", group=RUNS),
    Kept("outbox", _WITH_RUN, "until its job leaves the queue", group=RUNS),
    Kept(
        "record", (Rule.AGE, Rule.PARENT),
        "`RIVET_KEEP_LOGS_DAYS` after the end of the last run of its day, or with its run",
        "drop_days", LOGS,
    ),
    Kept("dropped_day", _WITH_RUN, "until no run of that day is left", "drop_days", LOGS),
    Kept("moved_log", _WITH_RUN, "its run's day of records", "drop_days", LOGS),
    Kept("test_case", _WITH_RUN, "its run", group=REPORTS),
    Kept("coverage", _WITH_RUN, "its run", group=REPORTS),
    Kept(
        "artifact", (Rule.PARENT,),
        "its run; what is in it `RIVET_KEEP_ARTIFACTS_DAYS`, and `RIVET_KEEP_ARTIFACTS_MIB` of a project",
        "expire_artifacts", FILES,
    ),
    Kept(
        "cache", (Rule.AGE, Rule.SIZE),
        "`RIVET_KEEP_CACHES_DAYS` after its last use, and `RIVET_KEEP_CACHES_MIB` of a project",
        "drop_caches", FILES,
    ),
    Kept("snapshot", (Rule.AGE,), "a day after its run's end", "drop_unused", FILES),
    Kept("kept_files", (Rule.AGE,), "a day after its run's end", "drop_unused", FILES),
    Kept("folder", (Rule.UNUSED,), "a day after its last use, unless a run needs it", "drop_unused", FILES),
    Kept("blob", (Rule.UNUSED,), "a day old, and nothing refers to it", "drop_unused", FILES),
    Kept("piece", (Rule.UNUSED,), "not used for a day, and no blob has it", "drop_unused", FILES),
    Kept(
        "stored_bytes", (Rule.BOUNDED,), "a row, and one for each change of the last hour",
        "note_sizes", FILES,
    ),
    Kept(
        "runner", (Rule.AGE,), "`RIVET_KEEP_RUNNERS_DAYS` after it was heard of last", "forget_runners", OTHER
    ),
    Kept(
        "part", (Rule.BOUNDED,), "a row a process; those silent for a day go when another comes", group=OTHER
    ),
    Kept("duty", (Rule.BOUNDED,), "one row a thread of control", group=OTHER),
    Kept("pause", (Rule.BY_HAND,), "until it is resumed, or its pipeline is deleted", group=OTHER),
    Kept("answered", (Rule.AGE,), "24 hours", "forget_answers", OTHER),
    Kept("secret", (Rule.BY_HAND,), "until `rivet secret delete`", group=OTHER),
    Kept("token", (Rule.BY_HAND,), "as many as were made", group=OTHER),
    Kept("tally", (Rule.BOUNDED,), "a row for each status and each bound of a histogram", group=OTHER),
    Kept("tally_until", (Rule.BOUNDED,), "one row", group=OTHER),
    Kept("size_sample", (Rule.AGE,), "40 days", "note_sizes", OTHER),
    Kept("alembic_version", (Rule.BOUNDED,), "one row", group=OTHER),
)

KEYS = (
    Kept("q:*", (Rule.PARENT,), "as many messages as jobs are queued"),
    Kept("own:*", (Rule.PARENT,), "messages of the jobs that its runner holds", "let_go_of_runners"),
    Kept("control", (Rule.PARENT,), "as many messages as jobs are to be settled"),
    Kept(
        "journal:*", (Rule.BOUNDED,), "48 entries and what is under way; what is taken in is trimmed",
        "forget_runners",
    ),
    Kept("ack:*", (Rule.PARENT,), "a field for each job that its runner has a journal of", "forget_runners"),
    Kept("unacked:*", (Rule.BOUNDED,), "what a worker has in hand", "forget_runners"),
    Kept("unacked_index:*", (Rule.BOUNDED,), "what a worker has in hand", "forget_runners"),
    Kept("unacked_mutex:*", (Rule.AGE,), "minutes: it expires"),
    Kept("rivet:generation", (Rule.BOUNDED,), "one key"),
    Kept("cut_off:*", (Rule.AGE,), "a lease: it expires"),
    Kept("cancel:*", (Rule.AGE,), "6 hours: it expires"),
    Kept("celery-task-meta-*", (Rule.AGE,), "10 minutes: it expires"),
    Kept("_kombu.binding*", (Rule.BOUNDED,), "a member a worker, of Celery's remote control; they expire"),
)

HOME = (
    Kept("state.json", (Rule.BOUNDED,), "one file"),
    Kept("up.lock", (Rule.BOUNDED,), "one file"),
    Kept("restoring", (Rule.BOUNDED,), "one file, while a backup is restored"),
    Kept("keys/*", (Rule.BOUNDED,), "a file for each key and password"),
    Kept("tokens/*", (Rule.BOUNDED,), "a file for each local token"),
    Kept("logs/*.log", (Rule.SIZE,), "10 MiB a part; then it becomes `.1`"),
    Kept("logs/*.log.*", (Rule.COUNT,), "3 a part"),
    Kept("run/**", (Rule.BOUNDED,), "sockets of the servers"),
    Kept("postgresql/**", (Rule.PARENT,), "the tables above, and PostgreSQL's log of changes"),
    Kept("redis/**", (Rule.PARENT,), "the keys above; rewritten when it has doubled"),
    Kept("artifacts/**", (Rule.PARENT,), "the table `piece`", "drop_unused"),
    Kept("runners/**", (Rule.BOUNDED,), "see below"),
)

RUNNER = (
    Kept("runner.lock", (Rule.BOUNDED,), "one file"),
    Kept("session", (Rule.BOUNDED,), "one file"),
    Kept("paused", (Rule.BOUNDED,), "one file, while the runner is paused"),
    Kept("jobs/**", (Rule.PARENT,), "a folder a job, until all that it told is taken in; a day at most"),
    Kept(
        "kept/**", (Rule.AGE, Rule.SIZE),
        "workspaces to start from, of runs that have ended: `RIVET_KEPT_HOURS`, `RIVET_KEPT_MIB` in all",
    ),
)


def line_of(name: str, ledger: Iterable[Kept]) -> Kept | None:
    """The line of the ledger that speaks of `name`, if there is one."""
    return next((kept for kept in ledger if _pattern(kept.name).fullmatch(name)), None)


def _pattern(name: str) -> re.Pattern[str]:
    parts = (re.escape(part).replace(r"\*", "[^/]*") for part in name.split("/**"))
    return re.compile("(?:/.*)?".join(parts))


RUNNERS, REDIS = "runners' folders", "Redis"
"""Sizes that are no group of tables."""

BEGIN, END = "<!-- begin: ledger -->", "<!-- end: ledger -->"


def with_ledger(page: str) -> str:
    """A page in which what stands between `BEGIN` and `END` are the tables of the ledger."""
    told = "\n\n".join(
        "\n".join([
            f"{title}\n", "| name | goes | stays |", "| --- | --- | --- |",
            *(f"| `{kept.name}` | {', '.join(kept.rules)} | {kept.says} |" for kept in ledger),
        ])
        for title, ledger in (
            ("Tables of the database:", TABLES), ("Keys of Redis:", KEYS),
            ("Beneath `RIVET_HOME`:", HOME), ("Beneath a runner's folder, `runners/NAME`:", RUNNER),
        )
    )
    before, found, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{told}\n{END}{rest.partition(END)[2]}" if found else page
