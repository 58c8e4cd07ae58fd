"""`/metrics` as it is served: to whom, what it names, and what it tells of a system at work."""

import re
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rivet.domain.errors import Unavailable
from rivet.journal.lag import LagReader
from rivet.journal.stream import StreamWriter
from rivet.telemetry.metrics import METRICS
from rivet.wiring.schema import migrate


def families(answer):
    """By name, as Prometheus reads them."""
    assert answer.status == 200, answer.body
    return {family.name: family for family in text_string_to_metric_families(answer.body.decode())}


def value(answer, name, **labels):
    """Of the one sample with these labels among others; None without one."""
    found = [
        sample.value
        for family in families(answer).values()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert len(found) <= 1
    return found[0] if found else None


def test_metrics_are_for_an_admin(api):
    assert api.ask("GET", "/metrics", token="").json["code"] == "unauthenticated"
    assert api.as_runner("GET", "/metrics").json["code"] == "forbidden"
    answer = api.ask("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")


def test_an_operator_may_make_them_public(serve, database_url, redis_url):
    public = serve(database_url, redis_url, RIVET_PUBLIC_METRICS="true")
    assert "rivet_server_up" in families(public.ask("GET", "/metrics", token=""))


def test_what_is_served_is_what_is_documented(api):
    served = families(api.ask("GET", "/metrics"))
    for metric in METRICS:
        family = served.pop(metric.name.removesuffix("_total"), None) or served.pop(metric.name)
        assert (family.type, family.documentation) == (metric.kind, metric.meaning), metric.name
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                assert set(sample.labels) - {"le"} == set(metric.labels)
    assert set(served) <= {"rivet_api_request_duration_seconds_created"}


def test_a_run_that_waits_is_in_its_queue_and_a_run_that_ended_is_in_the_sums(api):
    before = api.ask("GET", "/metrics")
    assert value(before, "rivet_server_up", server="postgresql") == 1
    assert value(before, "rivet_server_up", server="redis") == 1
    run = api.start()
    waiting = api.ask("GET", "/metrics")
    assert value(waiting, "rivet_queue_jobs", queue="default") >= 1
    assert value(waiting, "rivet_queue_oldest_job_seconds", queue="default") >= 0
    assert value(waiting, "rivet_jobs", status="queued") >= 1
    assert api.ask("POST", f"/runs/{run['id']}/cancel").status < 300
    after = api.ask("GET", "/metrics")
    name = "rivet_run_duration_seconds_count"
    ended = {"status": "cancelled"}
    assert value(after, name, **ended) == (value(before, name, **ended) or 0) + 1
    top = value(after, "rivet_run_duration_seconds_bucket", le="+Inf", **ended)
    assert top == value(after, name, **ended)


def test_a_runner_is_told_with_its_slots_and_what_it_wrote_that_nobody_took_in(api, redis_url):
    api.register("busy")
    StreamWriter(redis_url, "busy").send([b"one", b"two"])
    time.sleep(0.05)
    answer = api.ask("GET", "/metrics")
    assert value(answer, "rivet_runner_slots", runner="busy") == 2
    assert value(answer, "rivet_runners", status="online") >= 1
    assert value(answer, "rivet_ingest_waiting_entries", runner="busy") == 2
    assert 0.05 <= value(answer, "rivet_ingest_oldest_entry_seconds", runner="busy") < 20


def test_latencies_are_by_route_and_name_neither_ids_nor_what_strangers_make_up(api):
    run = api.start()["id"]
    for _ in range(2):
        api.ask("GET", f"/runs/{run}")
    api.ask("GET", "/made/up/by/a/stranger?token=shown-to-nobody")
    api.ask("BREW", f"/runs/{run}")
    answer = api.ask("GET", "/metrics")
    name = "rivet_api_request_duration_seconds_count"
    assert value(answer, name, route="/api/v1/runs/<run>", method="GET", status="2xx") >= 2
    assert value(answer, name, route="none", method="GET", status="4xx") >= 1
    assert value(answer, name, method="other", status="4xx") == 1
    assert run.encode() not in answer.body
    assert not re.search(rb"stranger|shown-to-nobody|BREW", answer.body)


def test_a_redis_that_is_away_is_told_and_the_rest_is_served(serve, database_url, own_redis):
    api = serve(database_url, own_redis.url(0))
    own_redis.stop()
    answer = api.ask("GET", "/metrics", token="rvt_admin_" + "a" * 43)
    assert value(answer, "rivet_server_up", server="redis") == 0
    assert value(answer, "rivet_server_up", server="postgresql") == 1
    assert value(answer, "rivet_log_stored_bytes") > 0
    with pytest.raises(Unavailable, match="how long journals are"):
        LagReader(own_redis.url(0)).lags(["busy"])


def test_a_postgresql_that_is_away_is_told_and_no_counter_starts_from_zero(
    serve, own_postgres, redis_url, migrated
):
    api = serve(migrated(own_postgres), redis_url, RIVET_PUBLIC_METRICS="true")
    assert value(api.ask("GET", "/metrics"), "rivet_lease_losses_total") == 0
    own_postgres.stop()
    answer = api.ask("GET", "/metrics")
    assert value(answer, "rivet_server_up", server="postgresql") == 0
    assert value(answer, "rivet_server_up", server="redis") == 1
    assert value(answer, "rivet_lease_losses_total") is None
    assert value(answer, "rivet_log_stored_bytes") is None


@pytest.fixture
def migrated():
    """The address of a migrated database on a server of the test's own."""
    def make(server):
        server.execute("CREATE DATABASE metrics")
        migrate(server.dsn("metrics"))
        return server.dsn("metrics")

    return make
