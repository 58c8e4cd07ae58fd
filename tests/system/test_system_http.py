"""What stages ask of the network, keep under a key that they make, and say of a run, through the real system."""

import json

PIPELINE = """
pipeline = { name = "Asking", permissions = { hosts = { "127.0.0.1" } }, secrets = { "ASKING" }, stages = {
  { name = "lock", script = function() fs.write("a.lock", "1") log.info(hash.files("*.lock"):sub(1, 4)) end },
  { name = "copies", matrix = { n = { 3, 1, 2 } }, script = function() output.set("n", { matrix.n, json.null }) end },
  {
    name = "ask",
    when = function() return #output.list("n") == 3 end,
    cache = { key = function() return "deps-" .. hash.files("*.lock"):sub(1, 4) .. #output.list("n") end, paths = { "a" } },
    script = function()
      local secret = secrets.get("ASKING")
      local answer = http.get({ url = "URL/data.json", headers = { Authorization = "Bearer " .. secret } })
      assert(answer.status == 200 and answer.json.list[2] == json.null and answer.json.name == "ü", answer.body)
      assert(answer.headers["content-type"] == "application/json" and #answer.body == 32, #answer.body)
      assert(http.post({ url = "URL/data.json", json = { token = secret } }).status == 501)
      assert(http.get("URL/echo-" .. "missing").status == 404)
      assert(http.put({ url = "URL/a", body = "x" }).status == 501 and http.delete("URL/a").status == 501)
      assert(http.request({ method = "HEAD", url = "URL/data.json" }).headers["content-length"] == "32")
      log.info(json.encode(output.list("n")), { none = #output.list("unknown") })
      for _, url in ipairs({ "http://127.0.0.2:1/", "http://example.org/" }) do
        log.info(select(2, pcall(http.get, url)))
      end
      log.annotate({ level = "error", message = "broken", file = "src/a.py", line = 7 })
      run.summary("**all** well")
      fs.write("a", "kept")
    end
  },
} }
"""


def test_a_stage_asks_a_server_and_tells_what_it_found(system, web):
    (web.folder / "data.json").write_text('{"list":[1,null],"name":"ü"}  \n', encoding="utf-8")
    (system.folder / "asking").write_text("the-secret-of-asking")
    done = system.cli("secret", "set", "ASKING", "--file", "asking", "--all-pipelines")
    assert done.returncode == 0, done.stderr
    lua = PIPELINE.replace("URL", f"http://127.0.0.1:{web.port}").replace('"127.0.0.1"', f'"127.0.0.1:{web.port}"')
    run = system.finish(system.submit("asking", lua))
    lines = system.lines(run["id"], "ask")
    assert run["status"] == "passed", lines
    assert "the-secret-of-asking" not in "\n".join(lines)
    key = f"deps-{system.lines(run['id'], 'lock')[0]}3"
    assert f'the key of the cache is "{key}"' in lines
    assert f'saved the cache "{key}": 1 file' in "\n".join(lines)
    assert "[[3,null],[1,null],[2,null]] none=0" in lines
    assert any(line.startswith(f"GET http://127.0.0.1:{web.port}/data.json: 200, 32 bytes, ") for line in lines)
    assert any('127.0.0.2:1 is not granted to this pipeline: add "127.0.0.2:1" to its' in line for line in lines)
    remark = {"level": "error", "message": "broken", "file": "src/a.py", "line": 7}
    assert run["annotations"] == [{"stage": "ask", "attempt": 1, "from_run": None, **remark}]
    assert run["summary"] == [
        {"stage": "ask", "attempt": 1, "from_run": None, "markdown": "**all** well"}
    ]
    shown = system.cli("runs", "show", run["id"]).stdout
    assert "src/a.py:7: error: broken" in shown
    assert "Summary of ask\n**all** well" in shown
    events = [event.data for event in system.events(run["id"]) if event.type == "annotation"]
    assert [{name: event[name] for name in remark} for event in events] == [remark]
    listed = json.loads(system.cli("runs", "list", "--pipeline", "asking", "--json").stdout)["items"]
    assert "annotations" not in listed[0]
