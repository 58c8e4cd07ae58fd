"""Secrets over HTTP: they go in, are listed without their values, and come out for the holder of a job alone."""

import base64

import pytest

VALUE = "s3cr3t-Zx81kQw04LmB"
PATH = "/projects/default/secrets"


@pytest.fixture
def put(api):
    def put_one(name, **body):
        body.setdefault("value", VALUE)
        if not {"pipelines", "all_pipelines"} & body.keys():
            body["pipelines"] = ["demo"]
        return api.ask("PUT", f"{PATH}/{name}", body)

    return put_one


@pytest.fixture
def claimed(api):
    """A job that a runner has claimed: asks for a secret as its holder."""
    order = api.claim(api.start(), api.register())

    def ask(name, ticket=order["ticket"], job=order["job"]):
        return api.ask("POST", f"/runner/jobs/{job}/secrets/{name}", {"stage": "build"}, token=ticket)

    ask.order = order
    return ask


def test_a_secret_is_made_replaced_listed_and_deleted_and_never_read(api, put):
    made = put("TOKEN")
    assert made.status == 201
    assert made.json | {"created_at": 0, "updated_at": 0} == {
        "name": "TOKEN", "project": "default", "pipelines": ["demo"], "branches": [], "all_pipelines": False,
        "set_by": "alice", "created_at": 0, "updated_at": 0, "warnings": made.json["warnings"],
    }
    assert put("TOKEN", value="another-value-of-it", branches=["main"]).status == 200
    listed = api.ask("GET", PATH)
    assert [(each["name"], each["branches"]) for each in listed.json["items"]] == [("TOKEN", ["main"])]
    for answer in (made, listed):
        assert VALUE.encode() not in answer.body
        assert b"another" not in answer.body
    assert api.ask("GET", f"{PATH}/TOKEN").status == 405
    assert api.ask("DELETE", f"{PATH}/TOKEN").status == 204
    assert api.ask("DELETE", f"{PATH}/TOKEN").status == 404
    assert api.ask("GET", PATH).json["items"] == []


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("token", {}, "capital letters"),
        ("TOKEN", {"value": ""}, "has 0 bytes"),
        ("TOKEN", {"value": VALUE * 4000}, "expected 1 to 65536"),
        ("TOKEN", {"base64": "AAAA"}, "give the value once"),
        ("TOKEN", {"value": None}, "give the value once"),
        ("TOKEN", {"value": None, "base64": VALUE + "!"}, "is not base64"),
        ("TOKEN", {"value": 5}, "valid string"),
        ("TOKEN", {"value": [VALUE]}, "valid string"),
        ("TOKEN", {"pipelines": ["Demo Pipeline"]}, 'did you mean "demo-pipeline"'),
        ("TOKEN", {"pipelines": []}, "nobody could use it"),
        ("TOKEN", {"branches": [""]}, "each is a glob"),
        ("TOKEN", {"values": VALUE}, "is not known here"),
    ],
)
def test_what_cannot_be_set_is_refused_without_repeating_the_value(put, name, body, words):
    answer = put(name, **body)
    assert answer.status == 422
    assert words in answer.json["detail"]
    assert VALUE.encode() not in answer.body


def test_the_holder_of_a_job_gets_the_very_bytes(claimed, put):
    raw = bytes(range(256))
    put("BINARY", value=None, base64=base64.b64encode(raw).decode())
    answer = claimed("BINARY")
    assert answer.status == 200
    assert base64.b64decode(answer.json["base64"]) == raw
    assert answer.headers["Cache-Control"] == "no-store"


def test_nobody_else_gets_it(api, claimed, put):
    put("TOKEN")
    put("THEIRS", pipelines=["other"])
    other = api.claim(api.start(), api.register())
    assert claimed("TOKEN", ticket=other["ticket"]).status == 403
    assert claimed("TOKEN", ticket=api.token).status == 401
    assert api.as_runner("POST", f"/runner/jobs/{claimed.order['job']}/secrets/TOKEN", {}).status == 401
    refused = claimed("THEIRS")
    assert (refused.status, "rivet secret set THEIRS --pipeline demo" in refused.json["detail"]) == (403, True)
    missing = claimed("NOT_THERE")
    assert (missing.status, "rivet secret set NOT_THERE --pipeline demo" in missing.json["detail"]) == (404, True)


def test_the_order_names_what_may_be_asked_for(api):
    source = (
        'return { name = "Narrow", secrets = { "ONE" }, '
        'stages = { { name = "build", script = function() end } } }'
    )
    order = api.claim(api.start(source, "narrow"), api.register())
    assert order["secrets"] == ["ONE"]
    api.ask("PUT", f"{PATH}/TWO", {"value": VALUE, "all_pipelines": True})
    asked = api.ask("POST", f"/runner/jobs/{order['job']}/secrets/TWO", {}, token=order["ticket"])
    assert (asked.status, "not among the `secrets`" in asked.json["detail"]) == (403, True)


def test_a_runner_s_token_sets_and_lists_nothing(api):
    assert api.as_runner("GET", PATH).status == 403
    assert api.as_runner("PUT", f"{PATH}/TOKEN", {"value": VALUE, "all_pipelines": True}).status == 403
    assert api.as_runner("DELETE", f"{PATH}/TOKEN").status == 403


def test_names_of_secrets_in_a_pipeline_are_checked(api):
    source = 'return { name = "x", secrets = { "token" }, stages = { { name = "a", script = function() end } } }'
    findings = api.ask("POST", "/pipelines/check", {"source": source}).json["findings"]
    assert [(each["line"], "secrets[1]: expected a secret's name" in each["message"]) for each in findings] == [
        (1, True)
    ]
