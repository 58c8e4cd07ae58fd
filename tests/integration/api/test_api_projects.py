"""Projects over HTTP."""

from tests.integration.api.conftest import TWO_STAGES
from tests.integration.api.test_api_pipelines import a_source


def names(api):
    return [one["name"] for one in api.ask("GET", "/projects").json["items"]]


def test_a_project_is_created_listed_used_and_deleted_with_all_in_it(api, store):
    made = api.ask("POST", "/projects", {"name": "website"})
    assert made.status == 201
    assert (made.json["name"], made.json["pipelines"]) == ("website", 0)
    assert api.ask("GET", made.headers["Location"].removeprefix("/api/v1")).json["items"] == []
    assert api.ask("POST", "/projects", {"name": "website"}).status == 409
    assert api.ask("POST", "/projects/website/pipelines", {"source": a_source("Site")}).status == 201
    secret = api.ask("PUT", "/projects/website/secrets/KEY", {"value": "s3cret-value", "all_pipelines": True})
    assert secret.status in (200, 201, 204)
    assert "website" in names(api)
    assert api.ask("DELETE", "/projects/website").status == 204
    assert "website" not in names(api)
    for path in ("/projects/website/pipelines", "/projects/website/secrets"):
        assert api.ask("GET", path).status == 404
    assert api.ask("DELETE", "/projects/website").status == 404
    with store.begin() as tx:
        assert tx.projects.drop_deleted() == 1
    assert api.ask("POST", "/projects", {"name": "website"}).status == 201
    assert api.ask("DELETE", "/projects/website").status == 204


def test_a_project_in_which_something_goes_on_stays_whole(api):
    api.ask("POST", "/projects", {"name": "busy"})
    api.ask("POST", "/projects/busy/pipelines", {"source": a_source("Idle")})
    started = api.ask("POST", "/projects/busy/pipelines/demo/runs", {"source": TWO_STAGES})
    assert started.status == 202, started.json
    refused = api.ask("DELETE", "/projects/busy")
    assert (refused.status, refused.json["code"]) == (409, "conflict")
    assert "go on" in refused.json["detail"]
    assert {one["slug"] for one in api.ask("GET", "/projects/busy/pipelines").json["items"]} == {"idle", "demo"}
    api.ask("POST", f"/runs/{started.json['id']}/cancel")
    assert api.ask("DELETE", "/projects/busy").status == 204


def test_the_default_project_stays_and_names_are_checked(api):
    assert api.ask("DELETE", "/projects/default").status == 409
    for name in ("Web Site", "a--b", "~x", "-", "ü"):
        answer = api.ask("POST", "/projects", {"name": name})
        assert answer.status == 422
        assert "name" in answer.json["detail"]
