"""The states of runs, jobs, stages, attempts and runners, and the one list of reasons."""

from enum import StrEnum


class RunStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    CANCELLING = "cancelling"
    PASSED = "passed"
    FAILED = "failed"
    ERRORED = "errored"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class JobStatus(StrEnum):
    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    LOST = "lost"
    PASSED = "passed"
    FAILED = "failed"
    ERRORED = "errored"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    SKIPPED = "skipped"


class StageStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    PASSED = "passed"
    WARNED = "warned"
    FAILED = "failed"
    ERRORED = "errored"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    SKIPPED = "skipped"


class AttemptStatus(StrEnum):
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    ERRORED = "errored"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    LOST = "lost"


class RunnerStatus(StrEnum):
    ONLINE = "online"
    DRAINING = "draining"
    OFFLINE = "offline"
    LOST = "lost"


class OnLost(StrEnum):
    """What becomes of a job whose runner vanished after something of it had begun."""

    ERROR = "error"
    RESTART = "restart"


class Reason(StrEnum):
    """Why a thing is not plainly going on, or did not plainly end. The same words in API, CLI and UI."""

    CONCURRENCY = "concurrency"
    NO_RUNNER = "no_runner"
    QUEUE_BUSY = "queue_busy"
    RETRY_DELAY = "retry_delay"
    PAUSED = "paused"
    APPROVAL = "approval"
    REJECTED = "rejected"
    EXPIRED = "expired"
    RUNNER_LOST = "runner_lost"
    SLOT_LOST = "slot_lost"
    WORKSPACE_LOST = "workspace_lost"
    BEGUN_TOO_OFTEN = "begun_too_often"
    DEFINITION_CHANGED = "definition_changed"
    CANCELLED_BY = "cancelled_by"
    SUPERSEDED = "superseded"
    SKIPPED_BY_RULE = "skipped_by_rule"
    EARLIER_FAILURE = "earlier_failure"
    FROM_RUN = "from_run"
    RESTORED = "restored"
    PASSED_ON_RETRY = "passed_on_retry"
    KEEP_CONFLICT = "keep_conflict"
    LIMIT_MEMORY = "limit_memory"
    LIMIT_CPU = "limit_cpu"
    LIMIT_OUTPUT = "limit_output"
    LIMIT_PROCESSES = "limit_processes"
    LIMIT_PROCESS_MEMORY = "limit_process_memory"
    LIMIT_OPEN_FILES = "limit_open_files"
    LIMIT_WORKSPACE = "limit_workspace"
    LIMIT_FRAME = "limit_frame"
    LIMIT_CALLS = "limit_calls"
    LIMIT_NETWORK = "limit_network"
    LIMIT_STAGE_TIME = "limit_stage_time"
    LIMIT_RUN_TIME = "limit_run_time"


FINISHED_RUN = frozenset({
    RunStatus.PASSED, RunStatus.FAILED, RunStatus.ERRORED, RunStatus.CANCELLED, RunStatus.TIMED_OUT,
})
FINISHED_JOB = frozenset({
    JobStatus.PASSED, JobStatus.FAILED, JobStatus.ERRORED, JobStatus.CANCELLED, JobStatus.TIMED_OUT,
    JobStatus.SKIPPED,
})
FINISHED_STAGE = frozenset({
    StageStatus.PASSED, StageStatus.WARNED, StageStatus.FAILED, StageStatus.ERRORED, StageStatus.CANCELLED,
    StageStatus.TIMED_OUT, StageStatus.SKIPPED,
})
