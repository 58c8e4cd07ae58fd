"""The crash points, and how the run that meets one ends."""

from dataclasses import dataclass

PASSED = frozenset({("passed", None)})
LOST = frozenset({("errored", "slot_lost"), ("errored", "runner_lost")})
"""Which of the two depends on who is quicker: the runner that comes back, or its lease that ends."""
OR_TOO_LATE = PASSED | {("errored", "runner_lost"), ("errored", "workspace_lost")}
"""A runner that is back before its lease ends goes on; on a slow machine it may be later."""


@dataclass(frozen=True, slots=True)
class Case:
    """`point` is one of `at/sitecustomize.py`; `whom` it kills is the process there, or its parent.

    `also` is another point that the same run meets: of control, whose death changes no end of a run.
    `attempts` are those of the first stage, where that is known.
    """

    point: str
    ends: frozenset[tuple[str, str | None]] = PASSED
    whom: str = "self"
    on_lost: str = "error"
    attempts: tuple[str, ...] | None = ("passed",)
    also: str | None = None

    def points(self) -> dict[str, str]:
        """Each point, and whom it kills."""
        return {self.point: self.whom} | ({self.also: "self"} if self.also else {})

    def told(self) -> str:
        more = [part for part in (self.whom, self.on_lost) if part not in ("self", "error")]
        return " ".join([self.point, *more, *(["and", self.also] if self.also else [])])


SLOT = [
    Case("after claim"),
    Case("after layout"),
    Case("after publish"),
    Case("before begin mark"),
    Case("after begin mark", LOST, attempts=("lost",)),
    Case("after begin mark", on_lost="restart", attempts=("lost", "passed")),
    Case("spooled attempt_started record", LOST, attempts=("lost",)),
    Case("after attempt_started record", on_lost="restart", attempts=("lost", "passed")),
    Case("spooled log record", LOST, attempts=("lost",)),
    Case("after log record", on_lost="restart", attempts=("lost", "passed")),
    Case("spooled attempt_ended record"),
    Case("after attempt_ended record"),
    Case("after end mark"),
    Case("spooled job_done record"),
    Case("after job_done record"),
    Case("after return"),
    Case("before result"),
    Case("after result"),
]
RUNNER = [
    Case("after claim", whom="parent", also="before commit of ingest_records"),
    # Judged lost before it is back, nothing has begun that control knows of: the job is begun again.
    Case(
        "after begin mark", LOST | PASSED, whom="parent", attempts=None, also="after commit of ingest_records"
    ),
    Case("after end mark", OR_TOO_LATE, whom="parent", also="after trim"),
    Case("after job_done record", whom="parent", also="before commit of ingest_records of job_done"),
    Case(
        "before runner ack", OR_TOO_LATE, on_lost="restart", attempts=None,
        also="after commit of ingest_records of job_done",
    ),
]
SPOOLER = [
    Case("before cleaning"),
    Case("after cleaning"),
]
API = [
    Case("before commit of start_run"),
    Case("untold commit of start_run"),
    Case("before commit of claim_job"),
    Case("after commit of claim_job"),
    Case("after commit of renew_lease"),
]
CONTROL = [
    Case("before commit of ingest_records of job_done"),
    Case("after commit of ingest_records of job_done"),
    Case("untold commit of ingest_records of job_done"),
]
CASES = [*SLOT, *SPOOLER, *RUNNER, *API, *CONTROL]
