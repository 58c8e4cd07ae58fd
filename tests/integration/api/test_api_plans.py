"""`POST /pipelines/plan`: what a run would do; nothing is stored and nothing runs."""

PLAN = "/pipelines/plan"
LUA = """return { name = "Planned",
  inputs = { target = { type = "string", required = true, options = { "staging", "prod" } } },
  permissions = { hosts = { "api.example.org" } }, queue = "big",
  stages = {
    { name = "build", script = function()
      output.set("v", 7)
      local made = process.run({ command = "make", capture = true })
    end },
    { name = "test", matrix = { py = { "3.11", "3.12" } }, script = function()
      process.run({ command = matrix.py .. output.get("v") })
    end },
    { name = "odd", script = function() json.decode(http.get("https://api.example.org/").body) end },
    { name = "deploy", when = function() return input.get("target") == "prod" end, script = function() end },
    { name = "ends", queue = "small", script = function() error("always") end },
  } }
"""


def test_a_plan_says_jobs_stages_and_calls(api):
    answer = api.ask("POST", PLAN, {"source": LUA, "inputs": {"target": "staging"}})
    assert answer.status == 200
    plan = answer.json
    jobs = [(job["number"], job["queue"], job["stages"], job["waits_for"]) for job in plan["jobs"]]
    assert jobs[:3] == [(1, "big", ["build"], []), (2, "big", ["test.1"], [1]), (3, "big", ["test.2"], [1])]
    assert [job[:3] for job in jobs[3:]] == [(4, "big", ["odd", "deploy"]), (5, "small", ["ends"])]
    stages = {stage["key"]: stage for stage in plan["stages"]}
    assert [call["call"] for call in stages["test.2"]["calls"]] == [
        'output.get("v")',
        'process.run({command = "3.127"})',
    ]
    assert [call["assumed"] for call in stages["build"]["calls"]] == [False, True]
    assert stages["deploy"]["when"] is False
    assert stages["odd"]["unknown"].startswith("not known from here on, since what calls give is assumed")
    assert stages["ends"]["unknown"].startswith("it would fail: rivet.lua:14: always")
    assert plan["permissions"] == {"network": False, "network_hosts": [], "hosts": ["api.example.org"]}
    assert plan["unknown"] == []
    assert api.ask("GET", "/projects/default/pipelines/planned").status == 404


def test_a_required_input_that_was_not_given_is_named_and_a_wrong_one_is_refused(api):
    answer = api.ask("POST", PLAN, {"source": LUA})
    assert (answer.status, answer.json["inputs"][0]["missing"]) == (200, True)
    assert answer.json["unknown"] == ['input "target" is required and was not given']
    refused = api.ask("POST", PLAN, {"source": LUA, "inputs": {"target": "x"}})
    assert (refused.status, refused.json["code"]) == (422, "invalid_input")


def test_what_is_planned_is_a_source_or_a_stored_pipeline(api):
    for body in ({}, {"source": LUA, "pipeline": "a"}):
        assert api.ask("POST", PLAN, body).status == 422
    assert api.ask("POST", PLAN, {"pipeline": "nothing"}).status == 404
    assert api.ask("POST", PLAN, {"source": "return {}"}).json["code"] == "invalid_pipeline"
