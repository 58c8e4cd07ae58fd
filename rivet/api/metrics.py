"""`/metrics` for Prometheus: what PostgreSQL and Redis say when asked, and this process's latencies."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from apiflask import APIBlueprint
from flask import Flask, Response, current_app, g, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family

from rivet.api.auth import needs_admin
from rivet.api.desk import the_web
from rivet.domain.errors import Unavailable
from rivet.store.read_metrics import Ended, Measured
from rivet.telemetry import metrics as told
from rivet.telemetry.metrics import Metric
from rivet.wiring.web import Web

metrics = APIBlueprint("metrics", __name__, tag="Health")

_KEY = "rivet_latencies"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_ANSWERS: Any = {
    "200": {"description": "The metrics", "content": {"text/plain": {"schema": {"type": "string"}}}}
}

Rows = Iterable[tuple[tuple[str, ...], float]]


@metrics.get("/metrics")
@metrics.doc(
    operation_id="read_metrics",
    summary="Metrics for Prometheus; without a token where RIVET_PUBLIC_METRICS says so",
    security="bearer",
    responses=_ANSWERS,
)
def read() -> Response:
    return _served() if the_web().settings.public_metrics else _served_to_admin()


def _served() -> Response:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Asked(the_web()))
    registry.register(current_app.extensions[_KEY])
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


_served_to_admin: Callable[[], Response] = needs_admin(_served)


def register_latencies(app: Flask) -> None:
    """Take the time of every request, from before anything looks at it until its answer begins."""
    of = told.API_DURATION
    latencies = Histogram(of.name, of.meaning, of.labels, buckets=told.API_BOUNDS_S, registry=None)
    app.extensions[_KEY] = latencies

    def begin() -> None:
        g.began = time.perf_counter()

    def end(response: Response) -> Response:
        if (began := g.get("began")) is not None:
            rule, method = request.url_rule, request.method
            latencies.labels(
                str(os.getpid()),
                method if method in _METHODS else "other",  # a stranger's methods would be series without end
                rule.rule if rule is not None else "none",
                f"{response.status_code // 100}xx",
            ).observe(time.perf_counter() - began)
        return response

    app.before_request(begin)
    app.after_request(end)


class _Asked:
    """Asks at each scrape. What does not answer is told as not up, and its metrics have no values."""

    def __init__(self, web: Web) -> None:
        self._web = web

    def collect(self) -> Iterator[Family]:
        up: list[tuple[tuple[str, ...], float]] = []
        measured = Measured({}, {}, {}, {}, {}, 0, 0, ())
        try:
            measured = self._web.measured.measured()
            up.append((("postgresql",), 1))
        except Unavailable:
            up.append((("postgresql",), 0))
        yield from _of_database(measured, known=bool(up[0][1]))
        names = [runner.name for runner in measured.runners]
        try:
            lags = self._web.lags.lags(names)
            up.append((("redis",), 1))
        except Unavailable:
            lags = {}
            up.append((("redis",), 0))
        yield _gauge(told.INGEST_WAITING, (((name,), lag.entries) for name, lag in lags.items()))
        yield _gauge(told.INGEST_OLDEST, (((name,), lag.oldest_s) for name, lag in lags.items()))
        yield _gauge(told.SERVER_UP, up)


def _of_database(measured: Measured, *, known: bool) -> Iterator[Family]:
    queues = measured.queues.items()
    yield _gauge(told.QUEUE_JOBS, (((queue,), jobs) for queue, (jobs, _) in queues))
    yield _gauge(told.QUEUE_OLDEST, (((queue,), oldest_s) for queue, (_, oldest_s) in queues))
    yield _gauge(told.RUNS, (((status,), many) for status, many in measured.open_runs.items()))
    yield _gauge(told.JOBS, (((status,), many) for status, many in measured.open_jobs.items()))
    yield _histogram(told.RUN_DURATION, measured.runs, told.RUN_BOUNDS_S)
    yield _histogram(told.STAGE_DURATION, measured.stages, told.STAGE_BOUNDS_S)
    lost = measured.stages.get("lost")
    lines = measured.running_lines + sum(ended.lines for ended in measured.stages.values())
    is_summed = known and measured.is_added_up
    yield _counter(told.LEASE_LOSSES, lost.many if lost else 0, is_summed)
    yield _counter(told.LOG_LINES, lines, is_summed)
    yield _gauge(told.LOG_STORED, [((), measured.stored_bytes)] if known else [])
    by_status: dict[str, int] = {}
    for runner in measured.runners:
        by_status[runner.status] = by_status.get(runner.status, 0) + 1
    heard = [runner for runner in measured.runners if runner.status != "lost"]
    yield _gauge(told.RUNNERS, (((status,), many) for status, many in by_status.items()))
    yield _gauge(told.SLOTS, (((runner.name,), runner.slots) for runner in heard))
    yield _gauge(told.FREE_SLOTS, (((runner.name,), runner.free_slots) for runner in heard))


def _gauge(metric: Metric, rows: Rows) -> Family:
    family = GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    for labels, value in rows:
        family.add_metric(labels, value)
    return family


def _counter(metric: Metric, value: float, known: bool) -> Family:
    family = CounterMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    if known:
        family.add_metric((), value)
    return family


def _histogram(metric: Metric, by_status: Any, bounds: tuple[float, ...]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    for status, ended in sorted(by_status.items()):
        family.add_metric((status,), _cumulated(ended, bounds), ended.seconds)
    return family


def _cumulated(ended: Ended, bounds: tuple[float, ...]) -> list[tuple[str, float]]:
    """Prometheus counts what took up to each bound; `+Inf` is all."""
    steps = [
        (str(bound), float(sum(many for upper, many in ended.by_bound.items() if upper <= bound)))
        for bound in bounds
    ]
    return [*steps, ("+Inf", float(ended.many))]
