"""`rivet pipeline`: stored pipelines and their versions."""

import json
import uuid
from urllib.parse import quote

import click

from rivet.cli.failures import USAGE, Failed, findings_of
from rivet.cli.options import json_option, project_option
from rivet.cli.server import server
from rivet.cli.show import paint, table
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
@json_option
def save(file: str, project: str, as_json: bool) -> None:
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
    click.echo(f"saved {answer['slug']}, version {answer.get('version')}")
    click.echo(f"Look next: rivet run {answer['slug']}", err=True)


@pipeline.command("list")
@click.option("--limit", type=click.IntRange(1, 500), default=100, show_default=True)
@project_option
@json_option
def list_pipelines(limit: int, project: str, as_json: bool) -> None:
    """List the pipelines of a project.

    Example: rivet pipeline list --json
    """
    answer = server().call("GET", f"{_path(project)}?limit={limit}")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    rows = [
        (str(one["slug"]), str(one.get("version") or ""), since(one.get("updated_at")), str(one["name"]))
        for one in answer["items"]
    ]
    table(("PIPELINE", "VERSION", "SAVED", "NAME"), rows, empty="There are no pipelines in this project.")


@pipeline.command()
@click.argument("name")
@click.option("--source", "only_source", is_flag=True, help="The Lua text and nothing else.")
@project_option
@json_option
def show(name: str, only_source: bool, project: str, as_json: bool) -> None:
    """Show a pipeline and the text of its newest version.

    Example: rivet pipeline show example-pipeline --source > pipeline.lua
    """
    answer = server().call("GET", f"{_path(project)}/{quote(name, safe='')}")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    source = str(answer.get("source") or "")
    if not only_source:
        version = f"version {answer['version']}" if answer.get("version") else "no published version"
        click.echo(f"{paint(str(answer['slug']), bold=True)}  {answer['name']}, {version}\n")
    click.echo(source, nl=not source.endswith("\n"))


def _path(project: str) -> str:
    return f"/projects/{quote(project, safe='')}/pipelines"
