"""The language as docs/language.md tells it, through the real system: each function, and fields that no other test has."""

import itertools
import json

import pytest

from .contract_rows import SAID, SCRIPTS
from .rivet_home import a_repository, git

HEAD = """
local function row(name, work)
  local ok, why = pcall(work)
  log.info((ok and "holds: " or "fails: ") .. name .. (ok and "" or ": " .. tostring(why)))
end
local h, head
return pipeline.define({ name = "Contract functions", env = { OF_PIPELINE = "p" },
  inputs = { who = { type = "string" }, count = { type = "number" }, flag = { type = "boolean" }, none = { type = "string" } },
  stages = { { name = "all", script = function()
"""


@pytest.fixture(scope="module")
def told(system):
    """The run of all scripts: its lines as (level, text)."""
    source = a_repository(system.folder / "of-the-contract", {"a.txt": "a"})
    git(source, "tag", "v1.2.0")
    (source / "b.txt").write_text("b")
    git(source, "add", ".")
    git(source, "commit", "-q", "-m", "second")
    file = system.folder / "contract-secret"
    file.write_bytes(b"hidden-word")
    for name in ("CONTRACT", "CONTRACT_OTHER"):
        system.cli("secret", "set", name, "--all-pipelines", "--file", str(file))
    rows = "\n".join(f'row("{name}", function() {lua} end)' for name, lua in SCRIPTS.items())
    lua = f"{HEAD}{rows.replace('URL', f'file://{source}')}\nend }} }} }})"
    run = system.finish(system.submit("contract-functions", lua, who="Ada", count=3, flag=True))
    lines = [json.loads(line) for line in system.client.lines(f"/runs/{run['id']}/logs?format=ndjson") if line.strip()]
    return run, [(line["level"], line["text"]) for line in lines]


@pytest.mark.parametrize("row", SCRIPTS)
def test_a_function_does_what_its_row_says(told, row):
    run, lines = told
    texts = [text for _, text in lines]
    assert f"holds: {row}" in texts, [text for text in texts if row in text] or (run["reason"], texts[-3:])
    if row in SAID:
        assert SAID[row] in lines


def test_the_fields_of_a_pipeline_hold(system, told):
    lua = """return pipeline.define({ name = "名", slug = "contract-fields", description = "What it is for.",
      secrets = { "CONTRACT" }, limits = { memory = "16MiB" }, isolation = "namespaces", stages = {
      { name = "asks", script = function()
          assert(tostring(secrets.get("CONTRACT")) == "***")
          log.info(select(2, pcall(secrets.get, "CONTRACT_OTHER")))
        end },
      { name = "grows", script = function() local all = {} for i = 1, 1e7 do all[i] = i .. "x" end end },
    } })"""
    run = system.finish(system.submit("contract-fields", lua))
    asks, grows = run["stages"]
    assert (run["pipeline"], run["isolation"], asks["status"], grows["status"], grows["reason"]) == (
        "contract-fields", "namespaces", "passed", "failed", "limit_memory",
    ), run  # fmt: skip
    assert "16 MiB" in grows["attempts"][0]["error"]["message"]
    assert "CONTRACT_OTHER" in system.lines(run["id"], "asks")[0]


def group(name: str, more: str) -> str:
    return f"""return {{ name = "{name}", stages = {{ {{ name = "g", {more} script = function()
      if matrix.n == 1 then time.sleep(0.3) error("no") end
      time.sleep(matrix.n == 2 and input.get("s") or 0.05)
    end }} }}, inputs = {{ s = {{ type = "number", default = 0.05 }} }} }}"""


def test_with_fail_fast_the_others_of_a_group_are_cancelled(system):
    lua = group("Fails fast", "matrix = { n = { 1, 2 } }, fail_fast = true,")
    run = system.finish(system.submit("fails-fast", lua, s=60))
    assert (run["status"], [stage["status"] for stage in run["stages"]]) == ("failed", ["failed", "cancelled"])


def test_no_more_of_a_group_run_at_once_than_max_parallel_says(system):
    lua = group("One by one", "matrix = { n = { 3, 4, 5 } }, max_parallel = 1,")
    run = system.finish(system.submit("one-by-one", lua))
    spans = sorted((stage["attempts"][0]["started_at"], stage["attempts"][0]["ended_at"]) for stage in run["stages"])
    assert run["status"] == "passed"
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans)), spans


def test_a_stage_goes_to_the_queue_that_it_names(system):
    lua = """return { name = "Elsewhere", stages = { { name = "here", script = function() end },
      { name = "there", queue = "far-away", script = function() end } } }"""
    run_id = system.submit("elsewhere", lua)
    run = system.when(run_id, lambda run: run["stages"][0]["status"] == "passed")
    assert [(stage["queue"], stage["status"]) for stage in run["stages"]] == [
        ("default", "passed"), ("far-away", "pending"),
    ]  # fmt: skip
    system.client.call("POST", f"/runs/{run_id}/cancel", {})


def test_processes_begin_in_the_environment_that_the_page_tells(system):
    lua = """return { name = "Environment", env = { PATH_PREPEND = "/workspace/mine" }, stages = { { name = "The stage", script = function()
      process.run({ command = "sh", args = { "-c", 'for n in CI RIVET HOME TMPDIR LANG RIVET_RUN_ID RIVET_RUN_NUMBER RIVET_STAGE RIVET_PIPELINE RIVET_PROJECT RIVET_WORKSPACE; do eval "echo $n=\\\\$$n"; done; touch $HOME/x $TMPDIR/y; pwd; id -u; echo ${PATH%%:*}' } })
    end } } }"""
    run = system.finish(system.submit("environment", lua))
    lines = system.lines(run["id"])
    assert lines[:11] == [
        "CI=true", "RIVET=true", "HOME=/home/stage", "TMPDIR=/tmp", "LANG=C.UTF-8", f"RIVET_RUN_ID={run['id']}",
        "RIVET_RUN_NUMBER=1", "RIVET_STAGE=the-stage", "RIVET_PIPELINE=environment", "RIVET_PROJECT=default",
        "RIVET_WORKSPACE=/workspace",
    ], lines  # fmt: skip
    assert (lines[11], lines[13]) == ("/workspace", "/workspace/mine")
    assert int(lines[12]) != 0


def test_what_a_plugin_gives_is_masked_and_what_it_raises_is_the_scripts(system, told):
    lua = """return { name = "Wild", stages = { { name = "a", script = function()
      local token = secrets.get("CONTRACT")
      log.info(json.encode(echo.echo("a hidden" .. "-word")))
      log.info(select(2, pcall(echo.fail, { text = "hidden-" .. "word" })))
      log.info(select(2, pcall(echo.odd)))
      log.info(select(2, pcall(echo.fail, { txet = "x" })))
    end } } }"""
    run = system.finish(system.submit("wild", lua))
    assert (run["status"], system.lines(run["id"])) == ("passed", [
        '{"a ***":["a ***"],"said":"a ***"}',
        "rivet.lua:4: echo.fail: the plug-in failed: ValueError: ***",
        "rivet.lua:5: echo.odd: what it gives does not fit into a script: a object cannot be handed to Lua",
        'rivet.lua:6: echo.fail: has no field "txet"; did you mean "text"?',
    ])  # fmt: skip
    assert "hidden-word" not in system.log_of("runner")


def test_a_plugin_that_cannot_be_imported_is_told_and_stops_no_runner(system):
    assert "plug-in broken of rivet-broken 1.0: it cannot be imported: RuntimeError: no good" in system.log_of("runner")
    findings = {each["name"]: each for each in json.loads(system.cli("doctor", "--json").stdout)["findings"]}
    assert (findings["plug-in broken"]["state"], findings["plug-in semver"]["state"]) == ("note", "ok")
    early = 'return { name = "x", stages = { { name = semver.next({ version = "1.0.0" }), script = function() end } } }'
    (place,) = system.client.call("POST", "/pipelines/check", {"source": early})["findings"]
    assert (place["code"], place["message"].split()[0]) == ("module-while-defining", "semver.next")
    checked = system.cli("check", system.file("early", early))
    assert (checked.returncode, "semver.next may not be used" in checked.stdout) == (1, True)
