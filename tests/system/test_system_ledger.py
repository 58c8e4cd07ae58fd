"""What a whole system has stored after runs of every kind is in the ledger: keys of Redis, files and folders."""

import os
from datetime import UTC, datetime, timedelta

import redis

from rivet.domain.day import day_of
from rivet.domain.retention import HOME, KEYS, RUNNER, line_of
from rivet.engine.drop_days import drop_days
from rivet.redis_link import connect
from rivet.store.unit import PostgresStore
from tests.aged_runs import make_runs

from .rivet_home import wait_for

EVERYTHING = """
pipeline = { name = "Everything", stages = {
  {
    name = "build", keep = { "kept/*" }, cache = { key = "deps", paths = { "deps" } }, artifacts = { "dist/*" },
    script = function()
      process.run({ command = "sh", args = { "-c", "mkdir deps dist kept; echo 1 | tee deps/a dist/a kept/a" } })
      fs.write("junit.xml", '<testsuite name="s"><testcase name="a"/></testsuite>')
      report.junit({ path = "*.xml" })
      output.set("x", 1)
    end,
  },
  { name = "side", needs = { "build" }, script = function() end },
  { name = "both", matrix = { n = { 1, 2 } }, script = function() log.info("n") end },
  { name = "sure", approval = { message = "?" } },
  { name = "last", script = function() end },
} }
"""
SLOW = 'pipeline = { name = "Slow", stages = { { name = "a", script = function() time.sleep(100) end } } }'


def keys_of(system) -> set[str]:
    url = system.told("control")["RIVET_BROKER_URL"]
    with connect(url) as client:
        assert isinstance(client, redis.Redis)
        return {key.decode() for key in client.scan_iter(count=1000)}


def names_beneath(folder) -> set[str]:
    return {
        os.path.relpath(os.path.join(place, name), folder)
        for place, _, names in os.walk(folder) for name in names
    }


def test_nothing_is_stored_that_the_ledger_does_not_know(system):
    file = system.file("everything", EVERYTHING)
    (system.folder / "sent").mkdir(exist_ok=True)
    (system.folder / "sent" / "one.txt").write_text("1")
    started = system.cli("run", file, "--no-follow", "--quiet", "--folder", str(system.folder / "sent"))
    assert started.returncode == 0, started.stderr
    run_id = next(iter(system.client.call("GET", "/runs?pipeline=everything")["items"]))["id"]
    slow = system.submit("slow", SLOW)
    seen = set()
    waiting = [False]

    def at_approval() -> bool:
        seen.update(keys_of(system))
        waiting[0] = system.run(run_id)["status"] == "waiting"
        return waiting[0]

    wait_for(at_approval, 60, lambda: str(system.run(run_id)))
    files = names_beneath(system.folder / "home")
    system.client.call("POST", f"/runs/{run_id}/stages/sure/approve", {})
    system.client.call("POST", f"/runs/{slow}/cancel", {})
    assert system.finish(run_id)["status"] == "passed"
    assert system.finish(slow)["status"] == "cancelled"
    seen |= keys_of(system)
    files |= names_beneath(system.folder / "home")
    assert {"control", "journal", "ack"} & {key.partition(":")[0] for key in seen}
    assert [key for key in sorted(seen) if line_of(key, KEYS) is None] == []
    assert [name for name in sorted(files) if line_of(name, HOME) is None] == []
    of_runners = {"/".join(name.split("/")[2:]) for name in files if name.startswith("runners/")}
    assert [name for name in sorted(of_runners) if line_of(name, RUNNER) is None] == []
    assert any(name.startswith("artifacts/") for name in files)


def test_control_clears_and_notes_sizes_from_its_start_on(system):
    wait_for(lambda: system.client.call("GET", "/sizes")["sampled_since"] is not None, 30)
    told = {one["name"]: one for one in system.client.call("GET", "/sizes")["items"]}
    assert told["Redis"]["bytes"] > 0
    assert told["runners' folders"]["on_disk"]
    assert "clearing failed" not in system.log_of("control")
    said = system.cli("doctor").stdout
    assert "stored: " in said
    assert "runs " in said
    assert "growth: " in said


def test_a_pipeline_that_keeps_fewer_runs_says_so(system):
    assert system.cli("pipeline", "save", system.file("slow", SLOW)).returncode == 0
    said = system.cli("pipeline", "keep", "slow", "--runs", "7", "--days", "3")
    assert said.stdout == "slow keeps runs for 3 days, the newest 7 runs\n"
    assert "keeps runs for 3 days, the newest 7 runs" in system.cli("pipeline", "show", "slow").stdout
    said = system.cli("pipeline", "keep", "slow")
    assert said.stdout == "slow keeps its runs as the settings say\n"


def test_the_command_line_says_when_a_log_expired_and_never_shows_an_empty_one(system):
    at = datetime.now(UTC) - timedelta(days=200)
    store = PostgresStore(system.database_url(), pool_size=1)
    with store.begin() as tx:
        tx.record_days.open(day_of(at))
    with store.engine.begin() as connection:
        run = str(make_runs(connection, [at], pipeline="of-then")[0])
    shown = system.cli("runs", "logs", run)
    assert (shown.returncode, len(shown.stdout.splitlines())) == (0, 2)
    assert drop_days(90, store=store) == 1
    store.close()
    for words in (("runs", "logs", run), ("runs", "logs", run, "--json"), ("runs", "logs", run, "--follow"), ("runs", "watch", run)):
        told = system.cli(*words)
        assert told.returncode == 2, told
        assert told.stdout == ""
        assert f"the log of this run expired on {datetime.now(UTC):%Y-%m-%d}" in told.stderr
    assert "log        expired" in system.cli("runs", "show", run).stdout
