"""Whatever goes wrong is told in one shape, with a code, and never with a traceback."""

import http.client
import json

import pytest

from rivet.keyring import new_token


def is_a_problem(answer, status, code):
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    told = answer.json
    assert (told["status"], told["code"]) == (status, code)
    assert told["title"]
    assert told["detail"]
    assert b"Traceback" not in answer.body
    return told


@pytest.mark.parametrize("token", ["", "wrong", new_token("admin"), "x" * 5000], ids=["none", "wrong", "unknown", "long"])
def test_without_a_known_token_nothing_is_told(api, token):
    told = is_a_problem(api.ask("GET", "/runs", token=token), 401, "unauthenticated")
    assert "RIVET_TOKEN" in told["detail"]


def test_each_kind_of_token_has_its_own_doors(api):
    is_a_problem(api.as_runner("GET", "/runs"), 403, "forbidden")
    is_a_problem(api.as_runner("POST", "/runner/heartbeat", {}), 422, "invalid_input")
    is_a_problem(api.ask("POST", "/runner/heartbeat", {}), 403, "forbidden")


def test_an_unknown_path_and_a_wrong_method_are_problems(api):
    is_a_problem(api.ask("GET", "/nothing"), 404, "not_found")
    answer = api.ask("DELETE", "/runs")
    is_a_problem(answer, 405, "method_not_allowed")
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "bad_request"),
        (b"[]", 400, "bad_request"),
        (b"\xff", 400, "bad_request"),
        (b"[" * 100_000, 400, "bad_request"),
        (b'{"source": 1' + b"0" * 10_000 + b"}", 400, "bad_request"),
        (b'{"source": "a\\u0000b"}', 400, "bad_request"),
        (b'{"source": "\\ud800"}', 400, "bad_request"),
        (b'{"source": 3}', 422, "invalid_input"),
        (b"{}", 422, "invalid_input"),
        (b"null", 400, "bad_request"),
    ],
)
def test_a_body_that_is_not_what_is_asked_for_is_a_problem(api, body, status, code):
    is_a_problem(api.ask("POST", "/pipelines/check", body), status, code)


def test_only_json_is_taken(api):
    answer = api.ask("POST", "/pipelines/check", b"source=x", Content_Type="text/plain")
    told = is_a_problem(answer, 415, "unsupported_media_type")
    assert "application/json" in told["detail"]


def test_a_post_without_a_body_says_so(api):
    told = is_a_problem(api.ask("POST", "/pipelines/check"), 400, "bad_request")
    assert "body is missing" in told["detail"]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "limit=x", "status=odd", "cursor=!!!", "cursor=YQ==", "unknown=1", "cursor=%00"],
)
def test_a_query_that_is_not_understood_is_a_problem(api, query):
    is_a_problem(api.ask("GET", f"/runs?{query}"), 422, "invalid_input")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "localhost.evil.example", "", "[", "10.0.0.1"]
)
def test_a_strange_host_is_refused(api, host):
    is_a_problem(api.ask("GET", "/healthz", Host=host), 421, "wrong_host")


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:8080", "LOCALHOST"])
def test_loopback_names_are_taken(api, host):
    assert api.ask("GET", "/healthz", Host=host).status == 200


def test_a_body_without_a_length_is_bounded_too(api):
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=30)
    headers = {"Authorization": f"Bearer {api.token}", "Content-Type": "application/json"}
    pieces = (b"x" * 65536 for _ in range(100))
    connection.request("POST", "/api/v1/pipelines/check", pieces, headers)
    response = connection.getresponse()
    assert response.status == 413, response.read()
    assert json.loads(response.read())["code"] == "too_large"
    connection.close()


def test_the_document_of_the_api_is_openapi_3_1(api):
    document = api.ask("GET", "/api/v1/openapi.json", token="").json
    assert document["openapi"].startswith("3.1")
    assert "/api/v1/runs/{run}/events" in document["paths"]
    assert "bearer" in document["components"]["securitySchemes"]


def test_nothing_went_wrong_on_our_side(api):
    assert b"Traceback" not in api.log.read_bytes()
    assert b"problem " not in api.log.read_bytes()
