"""What expired says so, with the date: a log is never told as if it had been empty."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from rivet.domain.day import day_of
from rivet.engine.drop_days import drop_days
from rivet.engine.expire_artifacts import expire_artifacts
from tests.aged_runs import make_runs

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def dropped(store, api) -> str:
    """A run whose day is gone."""
    at = NOW - timedelta(days=120)
    with store.begin() as tx:
        tx.record_days.open(day_of(at))
    with store.engine.begin() as connection:
        run = str(make_runs(connection, [at], pipeline="aged")[0])
    assert api.ask("GET", f"/runs/{run}/logs").status == 200
    assert drop_days(90, store=store) == 1
    return run


@pytest.mark.parametrize("path", ["logs", "logs?tail=3", "logs?format=ndjson", "logs?stage=build", "events"])
def test_a_log_that_expired_says_when(api, dropped, path):
    answer = api.ask("GET", f"/runs/{dropped}/{path}")
    assert answer.status == 410
    assert answer.json["code"] == "expired"
    assert f"expired on {NOW:%Y-%m-%d}" in answer.json["detail"]
    assert "RIVET_KEEP_LOGS_DAYS" in answer.json["detail"]
    assert answer.json["expired_at"].startswith(f"{NOW:%Y-%m-%d}")


def test_the_run_itself_stays_and_says_it_too(api, dropped):
    run = api.ask("GET", f"/runs/{dropped}").json
    assert run["status"] == "passed"
    assert run["logs_expired_at"].startswith(f"{NOW:%Y-%m-%d}")
    listed = api.ask("GET", "/runs?pipeline=aged").json["items"]
    assert [one["logs_expired_at"] is None for one in listed if one["id"] == dropped] == [False]


def test_a_run_whose_log_is_there_does_not_say_so(api):
    assert api.start(slug="fresh", source='return { name = "Fresh", stages = { { name = "a", script = function() end } } }')[
        "logs_expired_at"
    ] is None


def test_an_artifact_that_expired_stays_listed_and_says_when(api, stage, store):
    stage.shell("echo 1 > wheel")
    stage.artifacts.upload("wheel", ["wheel"])
    path = f"/runs/{stage.order.run}/artifacts"
    assert api.ask("GET", f"{path}/wheel").status == 200
    with store.engine.begin() as connection:
        ended = text("UPDATE run SET status = 'failed', ended_at = now() WHERE id = :run")
        connection.execute(ended, {"run": stage.order.run})
    assert expire_artifacts(30, 10**15, store=store, now=NOW + timedelta(days=31)) == 1
    (listed,) = api.ask("GET", path).json["items"]
    assert (listed["name"], listed["size"], listed["sha256"]) == ("wheel", 2, None)
    assert listed["expired_at"].startswith(f"{NOW + timedelta(days=31):%Y-%m-%d}")
    answer = api.ask("GET", f"{path}/wheel")
    assert (answer.status, answer.json["code"]) == (410, "expired")
    assert "RIVET_KEEP_ARTIFACTS_DAYS" in answer.json["detail"]


def test_a_pipeline_says_what_is_kept_of_it(api):
    api.start()
    path = "/projects/default/pipelines/demo"
    assert (api.ask("GET", path).json["keep_days"], api.ask("GET", path).json["keep_runs"]) == (None, None)
    answer = api.ask("PUT", f"{path}/keep", {"keep_days": 20, "keep_runs": 5})
    assert (answer.status, answer.json["keep_days"], answer.json["keep_runs"]) == (200, 20, 5)
    assert api.ask("GET", path).json["keep_runs"] == 5
    assert api.ask("PUT", f"{path}/keep", {}).json["keep_runs"] is None
    assert api.ask("PUT", f"{path}/keep", {"keep_runs": 0}).status == 422
    assert api.ask("PUT", "/projects/default/pipelines/none/keep", {}).status == 404
