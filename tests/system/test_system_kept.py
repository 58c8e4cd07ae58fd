"""Artifacts, caches and reports through the real system: by fields of a stage, and by calls."""

import json

PIPELINE = """
pipeline = { name = "Kept", stages = {
  {
    name = "build",
    cache = { key = "deps-1", paths = { "deps" } },
    artifacts = { "dist/*", "log.txt" },
    script = function()
      log.info("deps are " .. (fs.exists("deps/lib") and "there" or "missing"))
      process.run({ command = "sh", args = { "-c", "mkdir -p deps dist; echo 1 > deps/lib; echo w > dist/w; echo l > log.txt" } })
    end
  },
  {
    name = "test",
    artifacts = { name = "why", paths = { "why.txt" }, when = "failure" },
    script = function()
      artifacts.download({ name = "build", path = "in" })
      fs.write("why.txt", fs.read("in/dist/w"))
      fs.write("junit.xml", '<testsuite name="s"><testcase name="a"/><testcase name="b"><error/></testcase></testsuite>')
      fs.write("lcov.info", "SF:a\\nDA:1,1\\nDA:2,0\\n")
      log.info("tests: " .. json.encode(report.junit({ path = "*.xml" })))
      report.coverage({ path = "lcov.info" })
      error("no")
    end
  },
} }
"""

STOPPED = """
local function hold() fs.write("why.txt", "w") log.info("here") process.run({ command = "sleep", args = { "100" } }) end
local function keeps(name, when) return { name = name, paths = { "why.txt" }, when = when } end
pipeline = { name = "Stopped", stages = { { name = "g", parallel = {
  { name = "late", timeout = 0.8, artifacts = keeps("late", "failure"), script = hold },
  { name = "stopped", artifacts = keeps("stopped", "always"), script = hold },
} }, { name = "never", script = hold } }, finally = {
  { name = "end", timeout = 0.8, artifacts = keeps("end", "success"), script = hold },
} }
"""


def test_a_stage_that_is_stopped_uploads_what_it_said_it_would_in_any_case(system):
    run_id = system.submit("stopped", STOPPED)
    system.when(run_id, lambda _: system.lines(run_id, "stopped"))
    system.client.call("POST", f"/runs/{run_id}/cancel", {"stage": "stopped"})
    run = system.finish(run_id)
    ends = {stage["key"]: stage["status"] for stage in run["stages"]}
    assert ends == {"late": "timed_out", "stopped": "cancelled", "never": "skipped", "end": "timed_out"}
    kept = {each["name"]: each["files"] for each in system.client.call("GET", f"/runs/{run_id}/artifacts")["items"]}
    assert kept == {"late": 1, "stopped": 1}


def test_what_stages_keep_is_there_for_people_and_for_the_next_run(system):
    file = system.file("kept", PIPELINE)
    first, second = system.cli("run", file), system.cli("run", file)
    assert (first.returncode, second.returncode) == (1, 1), first.stdout + first.stderr
    assert "deps are missing" in first.stdout
    assert 'saved the cache "deps-1": 1 file' in first.stdout
    assert "deps are there" in second.stdout
    assert 'there is a cache "deps-1" already' in second.stdout
    assert 'tests: {"errored":1,"failed":0,"passed":1,"skipped":0,"tests":2}' in first.stdout
    listed = json.loads(system.cli("artifact", "list", "kept#1", "--json").stdout)["items"]
    assert [(one["name"], one["stage"], one["format"], one["files"]) for one in listed] == [
        ("build", "build", "tar", 2), ("why", "test", "file", 1)
    ]  # fmt: skip
    got = system.cli("artifact", "download", "kept#1", "--dir", str(system.folder / "got"))
    assert got.returncode == 0, got.stderr
    assert (system.folder / "got/build/dist/w").read_text() == "w\n"
    assert (system.folder / "got/why/why.txt").read_text() == "w\n"
    run = json.loads(system.cli("runs", "show", "kept#1", "--json").stdout)["id"]
    told = system.client.call("GET", f"/runs/{run}/tests")
    assert [(one["name"], one["status"]) for one in told["items"]] == [("b", "errored"), ("a", "passed")]
    assert told["coverage"][0]["line_rate"] == 0.5
