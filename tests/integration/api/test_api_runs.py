"""Runs over HTTP, and the way of a job as its runner sees it."""

import uuid

import pytest

P = "/projects/default/pipelines"


def test_a_run_of_a_source_is_accepted_and_queued(api):
    run = api.start()
    assert run["status"] == "queued"
    assert run["pipeline"] == "demo"
    assert run["inputs"] == {"who": "you"}
    assert run["actor"] == "alice"
    assert run["waiting_since"] is not None
    assert run["reason"] in ("queue_busy", "no_runner")
    assert [(stage["key"], stage["status"], stage["attempts"]) for stage in run["stages"]] == [
        ("build", "pending", []),
        ("test", "pending", []),
    ]
    assert api.ask("GET", f"/runs/{run['id']}").json["id"] == run["id"]


def test_runs_are_numbered_by_pipeline_and_named_in_three_ways(api):
    first, second = api.start(), api.start()
    assert second["number"] == first["number"] + 1
    for name in (second["id"], second["id"].replace("-", ""), f"demo%23{second['number']}"):
        assert api.ask("GET", f"/runs/{name}").json["id"] == second["id"]
    ambiguous = api.ask("GET", f"/runs/{first['id'][:4]}")
    assert (ambiguous.status, ambiguous.json["code"]) == (409, "conflict")


def test_two_identical_runs_are_two_runs(api):
    assert api.start()["id"] != api.start()["id"]


@pytest.mark.parametrize(
    "name", ["690df90e-dbff-4624-b73d-a065ac9ca6e0", "nothing", "demo%23999999", "demo%2399999999999", "a%00b"]
)
def test_an_unknown_run_is_not_found(api, name):
    for path in (f"/runs/{name}", f"/runs/{name}/logs", f"/runs/{name}/events"):
        answer = api.ask("GET", path)
        assert (answer.status, answer.json["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("fields", "status", "code", "word"),
    [
        ({"inputs": {"whom": "x"}}, 422, "invalid_input", "who"),
        ({"inputs": {"who": 3}}, 422, "invalid_input", "who"),
        ({"inputs": []}, 422, "invalid_input", "inputs"),
        ({"version": 99}, 404, "not_found", "version"),
        ({"version": 1, "source": "x"}, 409, "conflict", "version"),
        ({"sauce": "x"}, 422, "invalid_input", "sauce"),
        ({"source": "pipeline = {}"}, 422, "invalid_pipeline", "name"),
        ({"source": "while true do end"}, 422, "invalid_pipeline", ""),
    ],
)
def test_what_cannot_run_is_refused_and_leaves_nothing(api, fields, status, code, word):
    api.start()
    before = len(api.ask("GET", "/runs?pipeline=demo&limit=500").json["items"])
    answer = api.ask("POST", f"{P}/demo/runs", fields)
    assert (answer.status, answer.json["code"]) == (status, code), answer.body
    assert word in answer.json["detail"]
    assert len(api.ask("GET", "/runs?pipeline=demo&limit=500").json["items"]) == before


def test_an_unknown_pipeline_cannot_be_run(api):
    answer = api.ask("POST", f"{P}/unknown/runs", {})
    assert (answer.status, answer.json["code"]) == (404, "not_found")


def test_runs_are_listed_newest_first_with_filters_and_pages(api):
    started = [api.start()["id"] for _ in range(3)]
    page = api.ask("GET", "/runs?limit=2&pipeline=demo&project=default&status=queued").json
    assert [run["id"] for run in page["items"]] == [started[2], started[1]]
    rest = api.ask("GET", f"/runs?limit=1&pipeline=demo&cursor={page['next_cursor']}").json
    assert [run["id"] for run in rest["items"]] == [started[0]]
    assert api.ask("GET", "/runs?pipeline=other").json == {"items": [], "next_cursor": None}


def test_a_queued_run_is_cancelled_at_once(api):
    run = api.start()
    answer = api.ask("POST", f"/runs/{run['id']}/cancel")
    assert answer.status == 202
    cancelled = api.ask("GET", f"/runs/{run['id']}").json
    assert (cancelled["status"], cancelled["reason"], cancelled["cancelled_by"]) == (
        "cancelled", "cancelled_by", "alice",
    )
    assert {stage["status"] for stage in cancelled["stages"]} == {"cancelled"}
    assert api.ask("POST", f"/runs/{run['id']}/cancel", {}).status == 202


def test_one_stage_is_cancelled_and_what_builds_on_it_skipped(api):
    run = api.start()
    path = f"/runs/{run['id']}/cancel"
    assert api.ask("POST", path, {"stage": "test"}).status == 202
    stages = api.ask("GET", f"/runs/{run['id']}").json["stages"]
    assert [(stage["status"], stage["cancelled_by"]) for stage in stages] == [("pending", None), ("cancelled", "alice")]
    assert "it has build, test" in api.ask("POST", path, {"stage": "deploy"}).json["detail"]
    for body, said in (({"stage": 7}, "stage: "), ({"stages": ["test"]}, "stages: ")):
        refused = api.ask("POST", path, body)
        assert (refused.status, refused.json["code"]) == (422, "invalid_input")
        assert said in refused.json["detail"]


def test_a_job_is_claimed_once_and_its_lease_renewed_with_its_ticket(api):
    run, session, other = api.start(), api.register(), api.register()
    order = api.claim(run, session)
    assert order["digest"]
    assert [stage["key"] for stage in order["stages"]] == ["build", "test"]
    assert api.claim(run, session)["job"] == order["job"]
    refused = api.as_runner(
        "POST", f"/runner/jobs/{order['job']}/claim", {"session": other, "epoch": 1, "protocol": 1}
    )
    assert (refused.status, refused.json["code"]) == (409, "fenced")
    running = api.ask("GET", f"/runs/{run['id']}").json
    assert (running["status"], running["isolation"]) == ("running", "namespaces")
    assert running["waiting_since"] is None
    lease = f"/runner/jobs/{order['job']}/lease"
    renewed = api.ask("POST", lease, {"epoch": 1}, token=order["ticket"])
    assert renewed.json == {"state": "ok", "scope": "run", "ingested_seq": 0}
    assert api.ask("POST", lease, {"epoch": 2}, token=order["ticket"]).json["state"] == "fenced"
    assert api.ask("POST", lease, {"epoch": 1}, token="v1.x.y").json["code"] == "unauthenticated"
    elsewhere = f"/runner/jobs/{uuid.uuid4()}/lease"
    assert api.ask("POST", elsewhere, {"epoch": 1}, token=order["ticket"]).json["code"] == "forbidden"
    api.ask("POST", f"/runs/{run['id']}/cancel")
    assert api.ask("POST", lease, {"epoch": 1}, token=order["ticket"]).json["state"] == "cancelled"


def test_a_runner_of_another_protocol_is_told_both_numbers(api):
    run, session = api.start(), api.register()
    job = run["stages"][0]["job"]
    answer = api.as_runner(
        "POST", f"/runner/jobs/{job}/claim", {"session": session, "epoch": 1, "protocol": 7}
    )
    assert (answer.status, answer.json["theirs"], answer.json["ours"]) == (426, 7, 1)


def test_a_second_runner_of_a_name_that_lives_is_refused(api):
    api.register("twin")
    told = {
        "name": "twin", "queues": ["default"], "slots": 1, "isolation": "none", "version": "0", "protocol": 1,
    }
    answer = api.as_runner("POST", "/runner/register", told)
    assert (answer.status, answer.json["code"]) == (409, "conflict")
    strange = api.as_runner("POST", "/runner/register", told | {"name": "x", "queues": ["gpu"]})
    assert (strange.status, strange.json["code"]) == (403, "forbidden")


def test_a_heartbeat_is_answered_and_an_unknown_session_fenced(api):
    told = {"free_slots": 1, "own_queue": 0, "holds": []}
    answer = api.as_runner("POST", "/runner/heartbeat", told | {"session": api.register("beating")})
    assert answer.json == {"drain": False, "publish_again": [], "let_go": [], "paused": False}
    assert "beating" in [one["name"] for one in api.ask("GET", "/runners").json["items"]]
    fenced = api.as_runner("POST", "/runner/heartbeat", told | {"session": str(uuid.uuid4())})
    assert (fenced.status, fenced.json["code"]) == (409, "fenced")


def test_a_runner_token_is_told_once_and_serves_its_queues(api):
    made = api.ask("POST", "/runners/tokens", {"queues": ["gpu"], "name": "gpu box"})
    assert made.status == 201
    token = made.json["token"]
    told = {"name": "gpu1", "queues": ["gpu"], "slots": 1, "isolation": "none", "version": "0", "protocol": 1}
    assert api.ask("POST", "/runner/register", told, token=token).status == 200
    assert api.ask("POST", "/runners/tokens", {"queues": ["GPU!"]}).json["code"] == "invalid_input"


def test_a_queue_that_nobody_serves_is_told_after_five_seconds(api, store):
    stages = 'stages = { { name = "a", script = function() end } }'
    source = f'return {{ name = "Lonely", queue = "lonely", {stages} }}'
    run = api.start(source, "lonely")
    assert run["reason"] == "queue_busy"
    with store.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE job SET queued_at = queued_at - interval '6 s' WHERE queue = 'lonely'"
        )
    later = api.ask("GET", f"/runs/{run['id']}").json
    assert (later["reason"], later["stages"][0]["reason"]) == ("no_runner", "no_runner")


def test_runs_are_listed_by_trigger_and_by_when_they_were_started(api):
    run = api.start()
    at = run["created_at"]
    assert run["id"] in [each["id"] for each in api.ask("GET", f"/runs?trigger=manual&since={at}&limit=500").json["items"]]
    assert api.ask("GET", "/runs?trigger=schedule").json["items"] == []
    assert run["id"] not in [each["id"] for each in api.ask("GET", f"/runs?until={at}&limit=500").json["items"]]
    assert api.ask("GET", "/runs?since=2999-01-01T00:00:00%2B01:00").json["items"] == []
    for wrong in ("2030-01-01", "12", "2030-01-01T00:00:00", "2030-13-01T00:00:00Z"):
        refused = api.ask("GET", f"/runs?since={wrong}")
        assert (refused.status, refused.json["code"]) == (422, "invalid_input"), wrong
