"""`rivet runs approve` and `rivet runs reject`: answer what a stage of a run waits for."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from rivet.cli.complete import run_names
from rivet.cli.failures import USAGE, Failed
from rivet.cli.inputs import parse_inputs
from rivet.cli.options import json_option, project_option, quiet_option
from rivet.cli.runs import find_run, run_name, runs
from rivet.cli.server import server


@runs.command()
@click.argument("name", metavar="RUN", shell_complete=run_names)
@click.option("--stage", help="Which stage; needed only where several ask.")
@click.option("-i", "--input", "answers", multiple=True, metavar="NAME=VALUE", help="An answer; repeatable.")
@project_option
@quiet_option
@json_option
def approve(
    name: str, stage: str | None, answers: tuple[str, ...], project: str, quiet: bool, as_json: bool
) -> None:
    """Let a stage that waits for a person go on.

    Example: rivet runs approve example-pipeline#12 --stage deploy -i region=eu
    """
    _answer("approve", name, stage, {"inputs": parse_inputs(answers)}, project, quiet, as_json)


@runs.command()
@click.argument("name", metavar="RUN", shell_complete=run_names)
@click.option("--stage", help="Which stage; needed only where several ask.")
@click.option("--reason", default="", help="Why, for those who read the run.")
@project_option
@quiet_option
@json_option
def reject(name: str, stage: str | None, reason: str, project: str, quiet: bool, as_json: bool) -> None:
    """End a stage that waits for a person: it fails, rejected.

    Example: rivet runs reject example-pipeline#12 --reason "not on a Friday"
    """
    _answer("reject", name, stage, {"reason": reason}, project, quiet, as_json)


def _answer(
    verb: str, name: str, stage: str | None, body: Mapping[str, Any], project: str, quiet: bool, as_json: bool
) -> None:
    client = server()
    found = find_run(client, name, project)
    key = _asking(found, stage)
    run = client.call("POST", f"/runs/{found['id']}/stages/{quote(key, safe='')}/{verb}", dict(body))
    if as_json:
        click.echo(json.dumps(run, indent=2))
    elif not quiet:
        click.echo(f"stage {key} of {run_name(run)} {'approved' if verb == 'approve' else 'rejected'}")


def _asking(run: Mapping[str, Any], wanted: str | None) -> str:
    """The key of the stage that is meant. Raises Failed where none or several ask."""
    if wanted is not None:
        named = next((each for each in run["stages"] if wanted in (each["key"], each["name"])), None)
        return str(named["key"]) if named else wanted
    asking = [str(each["key"]) for each in run["stages"] if each["status"] == "waiting"]
    if len(asking) == 1:
        return asking[0]
    if not asking:
        raise Failed(f"{run_name(run)} is {run['status']}; no stage of it waits for a person.", USAGE)
    raise Failed(f"{run_name(run)} waits at {', '.join(asking)}; say which with --stage.", USAGE)
