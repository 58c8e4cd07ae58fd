"""`rivet runs rerun`: run a run again, all of it or a part, and say beforehand what is still there for it."""

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import click

from rivet.cli.complete import run_names
from rivet.cli.failures import USAGE, Failed, findings_of
from rivet.cli.follow import Follower, follow_to_the_end
from rivet.cli.options import json_option, project_option, quiet_option
from rivet.cli.runs import find_run, run_name, runs
from rivet.cli.server import server
from rivet.cli.source import read_source
from rivet.cli.text import harmless, parsed
from rivet.client import ApiProblem, Client

_MOST_LISTED = 12


@runs.command()
@click.argument("name", metavar="RUN", shell_complete=run_names)
@click.option("--failed", is_flag=True, help="Only the jobs that did not pass, and what builds on them.")
@click.option("--from", "from_stage", metavar="STAGE", help="From this stage on, as it found its workspace.")
@click.option("--stage", metavar="STAGE", help="This stage, and only what builds on it.")
@click.option("--file", metavar="FILE", help="Run this file instead of the run's own version.")
@click.option("--plan", "plan_only", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--follow", "-f", is_flag=True, help="Follow it to its end; the exit code says how it ended.")
@project_option
@quiet_option
@json_option
def rerun(
    name: str,
    failed: bool,
    from_stage: str | None,
    stage: str | None,
    file: str | None,
    plan_only: bool,
    follow: bool,
    project: str,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run a run again that has ended: a new run, with the same version, inputs and recorded values.

    Of a run that goes on, --stage begins a stage again that has ended and did not pass.

    Without an option all of it. What is not run again stands as it ended, and its outputs, artifacts and kept
    files are there. Before it starts it is said what stands, and what is still there to go on from; where
    something is gone, nothing is started, and the exit code is 2.

    Example: rivet runs rerun example-pipeline#12 --from test --file fixed.lua
    """
    if sum((failed, from_stage is not None, stage is not None)) > 1:
        raise Failed("--failed, --from and --stage exclude each other.", USAGE)
    client = server()
    found = find_run(client, name, project)
    body: dict[str, Any] = {}
    if failed:
        body["failed"] = True
    if from_stage is not None:
        body["from_stage"] = _key(found, from_stage)
    if stage is not None:
        body["stage"] = _key(found, stage)
    if file is not None:
        body["source"] = read_source(file)
    path = f"/runs/{found['id']}/rerun"
    if stage is not None and file is None and not plan_only and found["ended_at"] is None:
        return _begun_again(client, path, body, follow=follow, quiet=quiet, as_json=as_json)
    planned = _asked(client, f"{path}/plan", body, file)
    if plan_only and as_json:
        click.echo(json.dumps(planned, indent=2))
        return 0
    if not (quiet or as_json) or plan_only:
        for line in described(planned, run_name(found)):
            click.echo(line, err=not plan_only)
    if planned["refusal"] is not None:
        raise Failed(harmless(str(planned["refusal"])), USAGE)
    if plan_only:
        return 0
    started = _asked(client, path, body, file, {"Idempotency-Key": str(uuid.uuid4())})
    if follow:
        follower = Follower(client, started, run_name(started), quiet, as_json)
        return follow_to_the_end(follower)
    click.echo(json.dumps(started) if as_json else run_name(started))
    return 0


def _begun_again(
    client: Client, path: str, body: Mapping[str, Any], *, follow: bool, quiet: bool, as_json: bool
) -> int:
    """Within a run that goes on."""
    run = _asked(client, path, body, None, {"Idempotency-Key": str(uuid.uuid4())})
    if follow:
        return follow_to_the_end(Follower(client, run, run_name(run), quiet, as_json))
    if as_json:
        click.echo(json.dumps(run))
    elif not quiet:
        click.echo(f"stage {body['stage']} of {run_name(run)} is begun again")
    return 0


def described(planned: Mapping[str, Any], name: str) -> Iterator[str]:
    """What a rerun would do, for people, in a few lines."""
    yield harmless(f"again   {_listed(planned['again'])}")
    if planned["stand"]:
        stand = _listed([each["stage"] for each in planned["stand"]])
        yield harmless(f"stands  {stand}: as they ended in {name}, with their logs there")
    for logs in planned["logs"]:
        yield harmless(f"{'gone' if logs['gone'] else 'has':<6}  {_logs(logs)}")
    for source in planned["sources"]:
        yield harmless(f"{'gone' if source['gone'] else 'has':<6}  {_source(source)}")


def _logs(logs: Mapping[str, Any]) -> str:
    what = f"the logs of {logs['name'] or logs['run']}"
    if logs["gone"]:
        return f"{what}: {logs['gone']}"
    until = parsed(logs["until"])
    return what + (f" until {until:%Y-%m-%d} at least" if until else "")


def _source(source: Mapping[str, Any]) -> str:
    if source["what"] == "files":
        what = f"the files that {source['stage']} kept"
    elif source["what"] == "folder":
        what = "the folder that the run was started with"
    elif source["stage"] == source["needed_by"]:
        what = f"the workspace as {source['stage']} found it"
    else:
        what = f"the workspace that {source['stage']} left, for {source['needed_by']}"
    if source["gone"]:
        return f"{what}: {source['gone']}{'' if source['is_needed'] else '; it goes without'}"
    where = f" on {source['runner']}" if source["runner"] else " on the server"
    until = parsed(source["until"])
    return f"{what},{where}" + (f" until {until:%Y-%m-%d %H:%M} UTC at the latest" if until else "")


def _listed(keys: list[str]) -> str:
    shown = ", ".join(keys[:_MOST_LISTED])
    return f"{shown} and {len(keys) - _MOST_LISTED} more" if len(keys) > _MOST_LISTED else shown or "nothing"


def _key(run: Mapping[str, Any], wanted: str) -> str:
    """A stage may be given by its name, too; what no stage is called may be a group's key, or of the file."""
    named = next((each for each in run["stages"] if wanted in (each["key"], each["name"])), None)
    return str(named["key"]) if named else wanted


def _asked(
    client: Client,
    path: str,
    body: Mapping[str, Any],
    file: str | None,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The answer. Raises Failed with the file's findings, and ApiProblem."""
    try:
        return dict(client.call("POST", path, dict(body), dict(headers or {})))
    except ApiProblem as problem:
        lines = findings_of(problem, file or "pipeline")
        if lines:
            raise Failed("\n".join((f"{file} is not a pipeline", *lines)), USAGE) from problem
        raise
