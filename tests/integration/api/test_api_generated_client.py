"""A client that a common generator makes of the served document speaks to the API."""

import json
import os
import subprocess
import sys

from tests.integration.api.conftest import TWO_STAGES

PROGRAM = """
import json, sys
from rivet_client import AuthenticatedClient
from rivet_client.api.pipelines import list_pipelines, save_pipeline
from rivet_client.api.runs import read_run, start_run
from rivet_client.models import Problem404, Source, ToStart

url, token, text = sys.argv[1], sys.stdin.read(), sys.argv[2]
client = AuthenticatedClient(base_url=url, token=token, raise_on_unexpected_status=True)
saved = save_pipeline.sync(project="default", client=client, body=Source(source=text))
listed = list_pipelines.sync(project="default", client=client, limit=500)
run = start_run.sync(project="default", slug=saved.slug, client=client, body=ToStart(), idempotency_key="once")
again = start_run.sync(project="default", slug=saved.slug, client=client, body=ToStart(), idempotency_key="once")
missing = read_run.sync(run="nothing", client=client)
assert isinstance(missing, Problem404), missing
print(json.dumps({
    "pipelines": [pipeline.slug for pipeline in listed.items], "run": run.id, "again": again.id,
    "status": run.status, "code": str(missing.code), "read": read_run.sync(run=run.id, client=client).pipeline,
}))
"""


def test_a_generated_client_lists_pipelines_and_starts_a_run(api, tmp_path):
    document = tmp_path / "openapi.json"
    document.write_bytes(api.ask("GET", "/api/v1/openapi.json", token="").body)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    config = tmp_path / "config.yml"
    config.write_text("post_hooks: []\n")
    made = subprocess.run(
        [
            os.path.join(os.path.dirname(sys.executable), "openapi-python-client"), "generate", "--path", str(document),
            "--meta", "none", "--output-path", str(tmp_path / "rivet_client"), "--config", str(config),
            "--fail-on-warning",
        ],
        env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, f"http://127.0.0.1:{api.port}", TWO_STAGES],
        env=env, cwd=tmp_path, input=api.token, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert "demo" in told["pipelines"]
    assert told["run"] == told["again"] == api.ask("GET", f"/runs/{told['run']}").json["id"]
    assert (told["status"], told["code"], told["read"]) == ("queued", "not_found", "demo")
