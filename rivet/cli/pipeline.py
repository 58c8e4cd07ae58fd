"""`rivet pipeline`: stored pipelines and their versions."""

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import click

from rivet.cli import pausing
from rivet.cli.complete import pipeline_names
from rivet.cli.confirm import confirm_deletion
from rivet.cli.failures import USAGE, Failed, findings_of
from rivet.cli.options import json_option, project_option, quiet_option
from rivet.cli.server import server
from rivet.cli.show import names_alone, paint, table
from rivet.cli.source import read_source
from rivet.cli.text import since
from rivet.client import ApiProblem


@click.group()
def pipeline() -> None:
    """Stored pipelines.

    Example: rivet pipeline save pipeline.lua
    """


@pipeline.command()
@click.argument("file")
@project_option
@quiet_option
@json_option
def save(file: str, project: str, quiet: bool, as_json: bool) -> None:
    """Store a file as a new pipeline, or as the newest version of the one of its name.

    Example: rivet pipeline save pipeline.lua
    """
    source = read_source(file)
    try:
        key = {"Idempotency-Key": str(uuid.uuid4())}
        answer = server().call("POST", _path(project), {"source": source}, key)
    except ApiProblem as problem:
        lines = findings_of(problem, file)
        if lines:
            raise Failed("\n".join((f"{file} is not a pipeline", *lines)), USAGE) from problem
        raise
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    if quiet:
        click.echo(str(answer["slug"]))
        return
    click.echo(f"saved {answer['slug']}, version {answer.get('version')}")
    click.echo(f"Look next: rivet run {answer['slug']}", err=True)


@pipeline.command("list")
@click.option("--limit", type=click.IntRange(1, 500), default=100, show_default=True)
@project_option
@quiet_option
@json_option
def list_pipelines(limit: int, project: str, quiet: bool, as_json: bool) -> None:
    """List the pipelines of a project.

    Example: rivet pipeline list --json
    """
    answer = server().call("GET", f"{_path(project)}?limit={limit}")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    if quiet:
        names_alone(answer["items"], "slug")
        return
    rows = [
        (str(one["slug"]), str(one.get("version") or ""), since(one.get("updated_at")), str(one["name"]),
         pausing.shown(one.get("paused")))
        for one in answer["items"]
    ]
    heads = ("PIPELINE", "VERSION", "SAVED", "NAME", "PAUSED")
    table(heads, rows, empty="There are no pipelines in this project.")


@pipeline.command()
@click.argument("name", shell_complete=pipeline_names)
@click.option("--source", "only_source", is_flag=True, help="The Lua text and nothing else.")
@project_option
@quiet_option
@json_option
def show(name: str, only_source: bool, project: str, quiet: bool, as_json: bool) -> None:
    """Show a pipeline and the text of its newest version. --quiet is the text and nothing else, too.

    Example: rivet pipeline show example-pipeline --source > pipeline.lua
    """
    answer = server().call("GET", f"{_path(project)}/{quote(name, safe='')}")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    source = str(answer.get("source") or "")
    if not (only_source or quiet):
        version = f"version {answer['version']}" if answer.get("version") else "no published version"
        click.echo(f"{paint(str(answer['slug']), bold=True)}  {answer['name']}, {version}")
        if bounds := _bounds(answer):
            click.echo(f"  keeps {bounds}")
        click.echo()
    click.echo(source, nl=not source.endswith("\n"))


@pipeline.command()
@click.argument("name", shell_complete=pipeline_names)
@click.option(
    "--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="The newest so many."
)
@click.option(
    "--source", "number", type=click.IntRange(1), metavar="N", help="The Lua text of version N alone."
)
@project_option
@quiet_option
@json_option
def history(name: str, limit: int, number: int | None, project: str, quiet: bool, as_json: bool) -> None:
    """List the published versions of a pipeline, the newest first.

    Example: rivet pipeline history example-pipeline
    """
    path = f"{_path(project)}/{quote(name, safe='')}/versions"
    if number is not None:
        found = [one for one in _versions(path, number) if one["number"] == number]
        if not found:
            raise Failed(f'pipeline "{name}" has no version {number}', USAGE)
        source = str(found[0]["source"])
        click.echo(source, nl=not source.endswith("\n"))
        return
    answer = server().call("GET", f"{path}?limit={limit}")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    if quiet:
        names_alone(answer["items"], "number")
        return
    rows = [
        (str(one["number"]), since(one["created_at"]), str(one["digest"])[:12]) for one in answer["items"]
    ]
    table(("VERSION", "SAVED", "DIGEST"), rows, empty=f"{name} has no published version.")


@pipeline.command()
@click.argument("name", shell_complete=pipeline_names)
@click.option("--runs", "count", type=click.IntRange(1), metavar="N", help="The newest N.")
@click.option("--days", type=click.IntRange(1), metavar="N", help="For N days after their end.")
@project_option
@quiet_option
@json_option
def keep(name: str, count: int | None, days: int | None, project: str, quiet: bool, as_json: bool) -> None:
    """Keep fewer runs of a pipeline than RIVET_KEEP_RUNS_DAYS says. Without options: as that says, again.

    The last run that passed is kept always, and so is what goes on.

    Example: rivet pipeline keep example-pipeline --runs 100
    """
    asked = {"keep_days": days, "keep_runs": count}
    answer = server().call("PUT", f"{_path(project)}/{quote(name, safe='')}/keep", asked)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    elif not quiet:
        click.echo(f"{answer['slug']} keeps {_bounds(answer) or 'its runs as the settings say'}")


@pipeline.command()
@click.argument("name", shell_complete=pipeline_names)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@project_option
@quiet_option
@json_option
def delete(name: str, yes: bool, project: str, quiet: bool, as_json: bool) -> None:
    """Delete a pipeline with its versions and runs. On a terminal it asks first; elsewhere --yes is needed.

    Example: rivet pipeline delete example-pipeline --yes
    """
    question = f"Delete {name} with all of its versions and runs?"
    confirm_deletion(name, "all of its runs", question, yes)
    server().call("DELETE", f"{_path(project)}/{quote(name, safe='')}")
    if as_json:
        click.echo(json.dumps({"deleted": name}))
    elif not quiet:
        click.echo(f"deleted {name}", err=True)


def _bounds(answer: Mapping[str, Any]) -> str:
    """What is kept of a pipeline's runs, where that is less than the settings say."""
    days, count = answer.get("keep_days"), answer.get("keep_runs")
    said = [f"runs for {days} days"] if days else []
    return ", ".join([*said, f"the newest {count} runs"] if count else said)


@pipeline.command()
@click.argument("name", shell_complete=pipeline_names)
@pausing.why_option
@project_option
@quiet_option
@json_option
def pause(name: str, why: str, project: str, quiet: bool, as_json: bool) -> None:
    """Let runs of a pipeline wait of which nothing has begun. Runs that have begun go on.

    Example: rivet pipeline pause example-pipeline --why "the site is frozen until Monday"
    """
    path = f"{_path(project)}/{quote(name, safe='')}"
    pausing.pause(path, f"pipeline {name}", why, quiet=quiet, as_json=as_json)


@pipeline.command()
@click.argument("name", shell_complete=pipeline_names)
@project_option
@quiet_option
@json_option
def resume(name: str, project: str, quiet: bool, as_json: bool) -> None:
    """Let the runs of a paused pipeline begin.

    Example: rivet pipeline resume example-pipeline
    """
    path = f"{_path(project)}/{quote(name, safe='')}"
    pausing.resume(path, f"pipeline {name}", quiet=quiet, as_json=as_json)


def _versions(path: str, down_from: int) -> Iterator[dict[str, Any]]:
    client, cursor = server(), ""
    while True:
        page = client.call("GET", f"{path}?limit=100{cursor}")
        yield from page["items"]
        if page["next_cursor"] is None or page["items"][-1]["number"] < down_from:
            return
        cursor = f"&cursor={quote(page['next_cursor'], safe='')}"


def _path(project: str) -> str:
    return f"/projects/{quote(project, safe='')}/pipelines"
