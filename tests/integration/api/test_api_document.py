"""The served OpenAPI document says what the API does: programs that read nothing else find it so."""

import os
import subprocess
import sys
import time

import pytest

SEED = 7
CONFIG = """
[auth.openapi.bearer]
bearer = "{admin}"

[auth.openapi.runner]
bearer = "{runner}"

[auth.openapi.ticket]
bearer = "{ticket}"

[parameters]
"path.project" = "default"
"path.job" = "{job}"

[checks.negative_data_rejection]
expected-statuses = ["4xx", "5xx"]

[[operations]]
include-operation-id = "follow_run"
parameters = {{ "path.run" = "{ended}" }}
"""
"""Whoever follows a run that goes on would wait for it."""
BEYOND_A_SCHEMA = "positive_data_acceptance"
"""A text may fit its schema and be no pipeline."""


@pytest.fixture(scope="module")
def document(api):
    return api.ask("GET", "/api/v1/openapi.json", token="").json


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_every_operation_says_what_it_does_takes_and_answers(document):
    ids = [operation["operationId"] for _, operation in operations(document)]
    assert len(set(ids)) == len(ids) >= 40
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["tags"], name
        assert all(each["description"] for each in operation["parameters"] if each["in"] != "query"), name
        if name.startswith(("GET /healthz", "GET /readyz")):
            continue
        assert operation["security"], name
        assert {"401", "403", "503"} <= operation["responses"].keys(), name
        assert any(status.startswith("2") for status in operation["responses"]), name


def test_every_status_of_a_problem_has_a_schema_with_its_codes(document):
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            if status[0] in "45":
                assert answer == {"$ref": f"#/components/responses/Problem{status}"}, name
    codes = {
        code
        for name, schema in document["components"]["schemas"].items()
        if name.startswith("Problem4")
        for code in schema["allOf"][1]["properties"]["code"]["enum"]
    }
    assert {"not_found", "invalid_input", "invalid_pipeline", "conflict", "fenced", "too_large"} <= codes


def test_schemas_have_names_that_a_generated_client_can_show(document):
    assert all("." not in name for name in document["components"]["schemas"])


@pytest.mark.timeout(150)
def test_no_request_gets_an_answer_that_the_document_does_not_have(api, claimed, store, tmp_path):
    with store.engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO part VALUES ('control-test', now() + interval '5 min', now())"
        )
    order, ended = claimed(), api.start()["id"]
    api.ask("POST", f"/runs/{ended}/cancel")
    config = tmp_path / "schemathesis.toml"
    tokens = {"admin": api.token, "runner": "rvt_runner_" + "r" * 43, "ticket": order.ticket}
    config.write_text(CONFIG.format(**tokens, job=order.job, ended=ended))
    began = time.monotonic()
    done = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run",
            f"http://127.0.0.1:{api.port}/api/v1/openapi.json", "--phases", "coverage,fuzzing",
            "--max-examples", "5", "--seed", str(SEED), "--workers", "1", "--no-color",
            "--generation-database", "none", "--suppress-health-check", "all", "--exclude-checks", BEYOND_A_SCHEMA,
        ],
        cwd=tmp_path, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, capture_output=True, text=True,
        timeout=140, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert time.monotonic() - began < 120
    assert b"Traceback" not in api.log.read_bytes()
