"""Pipelines over HTTP."""

import pytest

from tests.integration.api.conftest import TWO_STAGES

P = "/projects/default/pipelines"


def a_source(name, version=""):
    stages = 'stages = { { name = "a", script = function() end } }'
    return f'-- {version}\nreturn {{ name = "{name}", {stages} }}'


def test_a_source_is_checked_without_being_stored(api):
    answer = api.ask("POST", "/pipelines/check", {"source": a_source("Checked Only")})
    assert answer.status == 200
    assert answer.json["valid"]
    assert answer.json["slug"] == "checked-only"
    assert api.ask("GET", f"{P}/checked-only").status == 404


def test_a_finding_has_its_line_and_column(api):
    stage = '{ name = "a", timeuot = 3, script = function() end }'
    source = f'pipeline = {{\n  name = "x",\n  stages = {{\n    {stage},\n  }},\n}}'
    answer = api.ask("POST", "/pipelines/check", {"source": source, "filename": "ci.lua"})
    assert answer.status == 200
    assert not answer.json["valid"]
    finding = answer.json["findings"][0]
    assert finding["line"] == 4
    assert "timeout" in finding["message"]
    assert finding["severity"] == "error"


def test_an_invalid_pipeline_is_refused_with_its_findings(api):
    answer = api.ask("POST", P, {"source": "pipeline = {"})
    assert answer.status == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["code"] == "invalid_pipeline"
    assert answer.json["findings"][0]["line"] >= 1


def test_a_saved_pipeline_is_there_and_can_be_published_again(api):
    first = api.ask("POST", P, {"source": a_source("Saved", "1")})
    assert (first.status, first.json["version"]) == (201, 1)
    assert first.headers["Location"].endswith("/api/v1/projects/default/pipelines/saved")
    second = api.ask("POST", P, {"source": a_source("Saved", "2")})
    assert (second.status, second.json["version"]) == (200, 2)
    third = api.ask("PUT", f"{P}/saved", {"source": a_source("Saved", "3")})
    assert (third.status, third.json["version"]) == (200, 3)
    read = api.ask("GET", f"{P}/saved").json
    assert read["source"] == a_source("Saved", "3")
    assert [each["number"] for each in api.ask("GET", f"{P}/saved/versions").json["items"]] == [3, 2, 1]
    page = api.ask("GET", f"{P}/saved/versions?limit=2").json
    rest = api.ask("GET", f"{P}/saved/versions?cursor={page['next_cursor']}").json
    assert ([each["number"] for each in rest["items"]], rest["next_cursor"]) == ([1], None)


def test_a_new_version_must_be_of_the_pipeline_that_was_named(api):
    api.ask("POST", P, {"source": a_source("One")})
    answer = api.ask("PUT", f"{P}/one", {"source": a_source("Two")})
    assert (answer.status, answer.json["code"]) == (409, "conflict")
    assert api.ask("PUT", f"{P}/absent", {"source": a_source("Absent")}).json["code"] == "not_found"


def test_pipelines_are_listed_by_pages(api):
    for name in ("List A", "List B", "List C"):
        api.ask("POST", P, {"source": a_source(name)})
    seen, cursor = [], ""
    while True:
        page = api.ask("GET", f"{P}?limit=1{cursor}").json
        seen += [item["slug"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert [slug for slug in seen if slug.startswith("list-")] == ["list-a", "list-b", "list-c"]
    assert seen == sorted(seen)


@pytest.mark.parametrize("path", ["/projects/nowhere/pipelines", "/projects/nowhere/pipelines/x"])
def test_an_unknown_project_is_named(api, path):
    answer = api.ask("GET", path)
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert "nowhere" in answer.json["detail"]


@pytest.mark.parametrize("megabytes", [2, 10, 40])
def test_a_source_that_is_too_big_is_told_its_bound(api, megabytes):
    answer = api.ask("POST", P, {"source": "-" * (megabytes * 1024 * 1024)})
    assert answer.status == (422 if megabytes < 4 else 413)
    assert "1 MiB" in answer.json["detail"]
    assert answer.json["code"] == ("invalid_input" if megabytes < 4 else "too_large")


def test_a_timeout_over_the_operators_maximum_is_refused_wherever_it_is_given(api):
    source = 'return {\n  name = "Too Long",\n  timeout = "200h",\n  stages = { { name = "a", script = function() end } } }'
    (finding,) = api.ask("POST", "/pipelines/check", {"source": source}).json["findings"]
    assert (finding["code"], finding["line"]) == ("over-limit", 3)
    assert finding["message"].endswith("the server's operator sets the maximum (RIVET_MAX_RUN_SECONDS=604800)")
    for path, body in ((P, {"source": source}), (f"{P}/too-long/runs", {"source": source})):
        answer = api.ask("POST", path, body)
        assert (answer.status, answer.json["findings"][0]["code"]) == (422, "over-limit")


def test_a_pipeline_is_deleted_with_its_runs_once_none_goes_on(api):
    source = TWO_STAGES.replace('"Demo"', '"Doomed"')
    run = api.start(source, "doomed")
    path = f"{P}/doomed"
    refused = api.ask("DELETE", path)
    assert (refused.status, refused.json["code"]) == (409, "conflict")
    assert "rivet runs cancel" in refused.json["detail"]
    api.ask("POST", f"/runs/{run['id']}/cancel")
    assert api.ask("DELETE", path).status == 204
    for gone in (path, f"/runs/{run['id']}", f"{path}/versions"):
        assert api.ask("GET", gone).status == 404
    assert api.ask("DELETE", path).status == 404
    assert api.start(source, "doomed")["number"] == 1
