"""Each answer has the id of its request, and the server's log tells of a request by it and without its query."""

import json
import re


def test_an_answer_has_the_id_that_was_sent_or_a_new_one(api):
    sent = api.ask("GET", "/runs", X_Request_Id="from-the-proxy.1")
    assert sent.headers["X-Request-Id"] == "from-the-proxy.1"
    new = [api.ask("GET", "/runs").headers["X-Request-Id"] for _ in range(2)]
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in new)
    assert new[0] != new[1]
    assert re.fullmatch("[0-9a-f]{32}", api.ask("GET", "/runs", X_Request_Id="{odd} " * 9).headers["X-Request-Id"])
    assert api.ask("GET", "/nowhere", X_Request_Id="lost").headers["X-Request-Id"] == "lost"
    assert api.ask("GET", "/runs", token="").headers["X-Request-Id"]


def test_every_line_of_a_log_in_json_is_json_with_its_request_and_no_secret(serve, database_url, redis_url):
    api = serve(database_url, redis_url, RIVET_LOG_FORMAT="json", RIVET_LOG_LEVEL="debug")
    api.ask("GET", "/runs/0123abc?project=hidden-in-the-query", X_Request_Id="mine")
    api.ask("GET", "/healthz", X_Request_Id="after")
    lines = [json.loads(line) for line in api.log.read_text().splitlines()]
    assert any(line["logger"] == "gunicorn.error" for line in lines)
    (mine,) = [line for line in lines if line.get("request") == "mine"]
    assert (mine["run"], mine["level"]) == ("0123abc", "debug")
    assert re.fullmatch(r"GET '/api/v1/runs/0123abc': \d{3} in [\d.]+ ms", mine["message"])
    (after,) = [line for line in lines if line.get("request") == "after"]
    assert "run" not in after
    assert "hidden-in-the-query" not in api.log.read_text()
    assert api.token not in api.log.read_text()
