"""`rivet runs`: list, show and cancel them."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import click

from rivet.cli.complete import pipeline_names, run_names
from rivet.cli.failures import USAGE, Failed
from rivet.cli.follow import because, errors_of, stage_lines
from rivet.cli.options import json_option, project_option, quiet_option
from rivet.cli.server import server
from rivet.cli.show import names_alone, paint, state, table
from rivet.cli.text import duration, harmless, since
from rivet.client import Client

STATUSES = (
    *("queued", "running", "waiting", "cancelling"),
    *("passed", "failed", "errored", "cancelled", "timed_out"),
)


@click.group()
def runs() -> None:
    """Runs. One is named by its id, a unique prefix of it, or PIPELINE#NUMBER.

    Example: rivet runs show example-pipeline#12
    """


@runs.command("list")
@click.option("--pipeline", metavar="NAME", shell_complete=pipeline_names, help="Of this pipeline only.")
@click.option("--status", type=click.Choice(STATUSES), help="In this state only.")
@click.option(
    "--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="The newest so many."
)
@project_option
@quiet_option
@json_option
def list_runs(
    pipeline: str | None, status: str | None, limit: int, project: str, quiet: bool, as_json: bool
) -> None:
    """List runs, the newest first.

    Example: rivet runs list --status failed
    """
    asked = {"project": project, "pipeline": pipeline, "status": status, "limit": limit}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    answer = server().call("GET", f"/runs?{query}")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    if quiet:
        names_alone(({"name": run_name(one)} for one in answer["items"]), "name")
        return
    rows = [
        (
            str(one["status"]),
            f"{one['pipeline']}#{one['number']}",
            since(one.get("created_at")),
            duration(one.get("started_at"), one.get("ended_at")),
            str(one.get("reason") or ""),
            str(one["id"]),
        )
        for one in answer["items"]
    ]
    table(("STATUS", "RUN", "ASKED FOR", "TOOK", "REASON", "ID"), rows, empty="There are no runs.")


@runs.command()
@click.argument("name", metavar="RUN", shell_complete=run_names)
@project_option
@quiet_option
@json_option
def show(name: str, project: str, quiet: bool, as_json: bool) -> None:
    """Show a run with its stages, what went wrong, and why it waits.

    Example: rivet runs show example-pipeline#12 --json
    """
    run = find_run(server(), name, project)
    if as_json:
        click.echo(json.dumps(run, indent=2))
        return
    if quiet:
        click.echo(f"{run_name(run)} {run['status']}")
        return
    for line in described(run):
        click.echo(line)


@runs.command()
@click.argument("name", metavar="RUN", shell_complete=run_names)
@click.option("--stage", help="Cancel this stage alone; what builds on it is skipped.")
@project_option
@quiet_option
@json_option
def cancel(name: str, stage: str | None, project: str, quiet: bool, as_json: bool) -> None:
    """Cancel a run, or one stage of it. What runs gets ten seconds to end by itself.

    Example: rivet runs cancel example-pipeline#12
    """
    client = server()
    found = find_run(client, name, project)
    key = stage_key(found, stage)
    run = client.call("POST", f"/runs/{found['id']}/cancel", {} if key is None else {"stage": key})
    if as_json:
        click.echo(json.dumps(run, indent=2))
    elif quiet:
        return
    elif key is not None:
        click.echo(_cancelled_stage(run, key))
    elif run["status"] in ("cancelling", "cancelled"):
        click.echo(f"{run_name(run)} {run['status']}")
    else:
        click.echo(f"{run_name(run)} is {run['status']}; there is nothing to cancel")


def _cancelled_stage(run: Mapping[str, Any], key: str) -> str:
    stage = next(stage for stage in run["stages"] if stage["key"] == key)
    which = f"stage {key} of {run_name(run)}"
    if stage["status"] == "cancelled":
        return f"{which} cancelled"
    return f"{which} is being cancelled" if stage["cancelled_by"] else f"{which} had ended: {stage['status']}"


def find_run(client: Client, name: str, project: str) -> dict[str, Any]:
    """The run that a person means by `name`: id, unique prefix of it, or `pipeline#12`. Raises ApiProblem."""
    return dict(client.call("GET", f"/runs/{quote(name, safe='')}?{urlencode({'project': project})}"))


def run_name(run: Mapping[str, Any]) -> str:
    return f"{run['pipeline']}#{run['number']}"


def described(run: Mapping[str, Any]) -> list[str]:
    """A run for people, line by line."""
    since_when = (
        f" since {since(run['waiting_since']).removesuffix(' ago')}" if run.get("waiting_since") else ""
    )
    rows = [
        ("id", str(run["id"])),
        ("version", str(run.get("version") or "unpublished")),
        ("rerun of", str(run.get("rerun_of") or "")),
        (
            "asked for",
            f"{since(run.get('created_at'))} by {run.get('actor') or run.get('trigger') or 'nobody'}",
        ),
        ("took", duration(run.get("started_at"), run.get("ended_at")) if run.get("started_at") else ""),
        ("isolation", str(run.get("isolation") or "")),
        ("log", f"expired {since(run['logs_expired_at'])}" if run.get("logs_expired_at") else ""),
        ("inputs", ", ".join(f"{name}={value}" for name, value in (run.get("inputs") or {}).items())),
    ]
    lines = [f"{state(str(run['status']))} {paint(run_name(run), bold=True)}{because(run)}{since_when}"]
    lines += [f"  {name:<10} {harmless(value)}" for name, value in rows if value]
    lines += ["", *stage_lines(run)]
    if errors := errors_of(run):
        lines += ["", *errors]
    if remarks := _remarks(run):
        lines += ["", *remarks]
    for summary in run.get("summary") or ():
        title = f"Summary of {harmless(str(summary['stage']))}{_said_in(run, summary)}"
        lines += ["", paint(title, bold=True)]
        lines += [harmless(line) for line in str(summary["markdown"]).splitlines()]
    if run.get("reason") == "no_runner":
        lines += ["", *_way_out(run)]
    return lines


def _remarks(run: Mapping[str, Any]) -> list[str]:
    """Annotations, as compilers write them."""
    lines = []
    for one in run.get("annotations") or ():
        place = ":".join(str(part) for part in (one["file"], one["line"]) if part is not None)
        colour = {"error": "red", "warn": "yellow"}.get(str(one["level"]))
        told = f"{one['level']}: {one['message']}"
        told += _said_in(run, one)
        lines.append(paint(harmless(f"{place}: {told}" if place else told), colour))
    return lines


def _said_in(run: Mapping[str, Any], said: Mapping[str, Any]) -> str:
    """Of a stage that stands in a rerun: in which run it was said."""
    if not said.get("from_run"):
        return ""
    origins = [stage["from_run"] for stage in run["stages"] if stage["key"] == said["stage"]]
    number = origins[0]["number"] if origins and origins[0] else None
    return f" (from {said['from_run'] if number is None else f'#{number}'})"


def _way_out(run: Mapping[str, Any]) -> list[str]:
    """The commands that start a runner for what waits for one."""
    queues = dict.fromkeys(str(stage["queue"]) for stage in run["stages"] if stage["reason"] == "no_runner")
    return [
        f'No runner serves the queue "{queue}". Start one: rivet runner start --queue {queue}'
        f"   (its token: rivet runner token --queue {queue})"
        for queue in queues
    ]


def stage_key(run: Mapping[str, Any], wanted: str | None) -> str | None:
    """A stage may be given by its key or by its name. Raises Failed if the run has none such."""
    if wanted is None:
        return None
    for stage in run.get("stages") or ():
        if wanted in (stage["key"], stage["name"]):
            return str(stage["key"])
    known = ", ".join(str(stage["key"]) for stage in run.get("stages") or ())
    raise Failed(f"{run_name(run)} has no stage {wanted!r}; it has {known}", USAGE)
