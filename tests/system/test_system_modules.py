"""Modules in a run of the real system: one stage that uses them together, and what its log and record say."""

import json

from .rivet_home import a_repository

LUA = """
pipeline = {{ name = "Modules", stages = {{
  {{ name = "work", script = function()
    local commit = git.clone({{ url = "{url}", path = "src" }})
    assert(git.rev_parse({{ path = "src" }}) == commit and git.describe({{ path = "src" }}) == commit:sub(1, 7))
    local package = json.decode(fs.read("src/package.json"))
    log.group("files", function()
      fs.mkdir("build/deep")
      fs.write("build/deep/list.json", json.encode({{ files = fs.glob("src/*.json"), none = json.array() }}))
      fs.copy("build", "dist")
      fs.move("dist/deep/list.json", "dist/list.json")
      assert(fs.remove("build") and not fs.exists("build"))
      log.info(fs.read("dist/list.json"))
    end)
    output.set("package", package)
    output.set("key", hash.files({{ "src/*.json" }}))
    local server = process.start({{
      command = "python3", args = {{ "-u", "-m", "http.server", "8123", "--bind", "127.0.0.1" }},
      ready = {{ port = 8123, timeout = "30s" }},
    }})
    local got = process.run({{
      command = "python3", capture = true,
      args = {{ "-c", "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8123/dist/list.json').status)" }},
    }})
    assert(got.stdout == "200\\n" and server:running())
    assert(server:stop().exit_code ~= 0)
    log.annotate({{ level = "warn", message = "odd", file = "src/package.json", line = 1 }})
    time.sleep(0.05)
    print(time.iso(0), base64.encode("x"), process.which("no-such-tool"))
  end }},
  {{ name = "later", script = function()
    log.group("outer", function()
      log.info(json.encode(output.get("package")))
      assert(output.get("key") == hash.files("src/package.json") and #output.get("key") == 64)
      process.start({{ command = "sh", args = {{ "-c", "trap 'echo bye; exit' TERM; echo up; while :; do sleep 0.02; done" }},
        ready = {{ log = "up" }} }})
      fs.read("missing")
    end)
  end }},
}} }}
"""


def test_modules_work_together_in_one_run(system):
    source = a_repository(system.folder / "of-modules", {"package.json": '{"name": "x", "deps": [], "main": null}'})
    run = system.finish(system.submit("modules", LUA.format(url=f"file://{source}")))
    work, later = system.lines(run["id"], "work"), system.lines(run["id"], "later")
    assert [stage["status"] for stage in run["stages"]] == ["passed", "failed"], (work, later)
    begin = work.index("group: files")
    assert work[begin + 1] == '{"files":["src/package.json"],"none":[]}'
    assert work[begin + 2].startswith("end of group: files, ")
    assert any('"GET /dist/list.json' in line for line in work)
    assert work[-2:] == ["src/package.json:1: odd", "1970-01-01T00:00:00Z\teA==\tnil"]
    assert later[:3] == ["group: outer", '{"deps":[],"main":null,"name":"x"}', "up"]
    assert "bye" in later[3:-2]
    assert later[-2].startswith("end of group: outer, ")
    assert later[-1] == 'rivet.lua:37: fs.read: there is nothing at "missing" in the workspace'


def test_the_log_says_where_groups_begin_and_end(system):
    lua = """pipeline = { name = "Groups", stages = { { name = "s", script = function()
      log.group("a", function() log.info("x") end) end } } }"""
    run = system.finish(system.submit("groups", lua))
    lines = [json.loads(line) for line in system.client.lines(f"/runs/{run['id']}/logs?format=ndjson")]
    assert [(line["stream"], line["level"]) for line in lines] == [
        ("log", "group"), ("log", "info"), ("log", "group_end"),
    ]  # fmt: skip


def test_a_stage_that_sleeps_or_waits_is_cancelled_at_once(system):
    lua = """pipeline = { name = "Sleeps", stages = { { name = "s", script = function()
      log.info("asleep") time.sleep("10m") end } } }"""
    run_id = system.submit("sleeps", lua)
    system.when(run_id, lambda run: run["stages"][0]["attempts"] and run["stages"][0]["attempts"][0]["lines"])
    system.client.call("POST", f"/runs/{run_id}/cancel", {})
    assert system.finish(run_id, within_s=5)["status"] == "cancelled"
