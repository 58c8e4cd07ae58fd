"""Pausing a pipeline, a queue and a runner, through the whole system."""

from .rivet_home import wait_for

LUA = 'pipeline = { name = "%s", stages = { { name = "a", script = function() log.info("done") end } } }'


def waits(home, run_id: str) -> None:
    run = home.when(run_id, lambda run: run["reason"] == "paused")
    assert (run["status"], run["stages"][0]["reason"]) == ("queued", "paused")
    assert run["waiting_since"] is not None


def test_runs_of_a_paused_pipeline_wait_and_say_so_and_others_do_not(fragile):
    fragile.finish(fragile.submit("frozen", LUA % "Frozen"))
    done = fragile.cli("pipeline", "pause", "frozen", "--why", "the site is frozen")
    assert done.returncode == 0, done.stderr
    waiting = [fragile.submit("frozen", LUA % "Frozen") for _ in range(3)]
    waits(fragile, waiting[0])
    assert fragile.finish(fragile.submit("other", LUA % "Other"))["status"] == "passed"
    assert "the site is frozen" in fragile.cli("pipeline", "list").stdout
    assert fragile.cli("pipeline", "resume", "frozen").returncode == 0
    assert {fragile.finish(run_id)["status"] for run_id in waiting} == {"passed"}
    again = fragile.cli("pipeline", "resume", "frozen")
    assert (again.returncode, "is not paused" in again.stderr) == (2, True)


def test_jobs_of_a_paused_queue_wait(fragile):
    assert fragile.cli("queue", "pause", "default", "--why", "being mended").returncode == 0
    run_id = fragile.submit("held", LUA % "Held")
    waits(fragile, run_id)
    assert "being mended" in fragile.cli("queue", "list").stdout
    assert fragile.cli("runs", "cancel", fragile.submit("held", LUA % "Held")).returncode == 0
    assert fragile.cli("queue", "resume", "default").returncode == 0
    assert fragile.finish(run_id)["status"] == "passed"


def test_a_paused_runner_takes_nothing_new_and_comes_back(fragile):
    name = fragile.client.call("GET", "/runners")["items"][0]["name"]
    assert fragile.cli("runner", "pause", name, "--why", "its disk").returncode == 0
    note = fragile.folder / "home" / "runners" / name / "paused"
    wait_for(note.exists, 10)
    run_id = fragile.submit("nobody", LUA % "Nobody")
    assert "its disk" in fragile.cli("runner", "list").stdout
    assert fragile.run(run_id)["status"] == "queued"
    assert fragile.cli("runner", "resume", name).returncode == 0
    assert fragile.finish(run_id)["status"] == "passed"
    assert fragile.finish(fragile.submit("nobody", LUA % "Nobody"))["status"] == "passed"
