"""Every metric that `/metrics` serves: name, kind, labels and meaning. The page of them is made of it."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["gauge", "counter", "histogram"]

RUN_BOUNDS_S = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
STAGE_BOUNDS_S = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
"""Durations are kept by these bounds in the database: changed bounds hold for what ends from then on."""
API_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """`name` ends with its unit, and a counter's with `_total`; `labels` in the order of their values."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str

    def series(self) -> tuple[str, ...]:
        """The names under which Prometheus keeps it."""
        if self.kind == "histogram":
            return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))
        return (self.name,)


SERVER_UP = Metric("rivet_server_up", "gauge", ("server",), "1 if PostgreSQL or Redis answered this scrape.")
QUEUE_JOBS = Metric("rivet_queue_jobs", "gauge", ("queue",), "Jobs that wait in a queue.")
QUEUE_OLDEST = Metric(
    "rivet_queue_oldest_job_seconds",
    "gauge",
    ("queue",),
    "How long the oldest job of a queue has waited; the delay before a retry does not count.",
)
RUNS = Metric("rivet_runs", "gauge", ("status",), "Runs that have not ended.")
JOBS = Metric("rivet_jobs", "gauge", ("status",), "Jobs of runs that have not ended.")
RUN_DURATION = Metric(
    "rivet_run_duration_seconds", "histogram", ("status",), "From the first start to the end of ended runs."
)
STAGE_DURATION = Metric(
    "rivet_stage_duration_seconds", "histogram", ("status",), "Each ended attempt at a stage."
)
LEASE_LOSSES = Metric(
    "rivet_lease_losses_total", "counter", (), "Attempts at stages that ended lost: what ran them vanished."
)
LOG_LINES = Metric("rivet_log_lines_total", "counter", (), "Lines of logs that were taken in.")
LOG_STORED = Metric(
    "rivet_log_stored_bytes", "gauge", (), "What logs and other records take in PostgreSQL, packed."
)
RUNNERS = Metric("rivet_runners", "gauge", ("status",), "Runners that are online, draining or lost.")
SLOTS = Metric("rivet_runner_slots", "gauge", ("runner",), "Jobs that a runner works on at once.")
FREE_SLOTS = Metric("rivet_runner_free_slots", "gauge", ("runner",), "Slots without a job at its last beat.")
INGEST_WAITING = Metric(
    "rivet_ingest_waiting_entries", "gauge", ("runner",), "Entries of a runner's journal not taken in yet."
)
INGEST_OLDEST = Metric(
    "rivet_ingest_oldest_entry_seconds", "gauge", ("runner",), "Age of the oldest such entry, 0 without one."
)
API_DURATION = Metric(
    "rivet_api_request_duration_seconds",
    "histogram",
    ("process", "method", "route", "status"),
    "Until an answer begins, of the API process that is asked; `status` is a class, as `2xx`.",
)

METRICS = (
    SERVER_UP, QUEUE_JOBS, QUEUE_OLDEST, RUNS, JOBS, RUN_DURATION, STAGE_DURATION, LEASE_LOSSES, LOG_LINES,
    LOG_STORED, RUNNERS, SLOTS, FREE_SLOTS, INGEST_WAITING, INGEST_OLDEST, API_DURATION,
)  # fmt: skip
