"""`rivet project`: what belongs together, mostly one repository."""

import json
from urllib.parse import quote

import click

from rivet.cli.confirm import confirm_deletion
from rivet.cli.options import json_option, quiet_option
from rivet.cli.server import server
from rivet.cli.show import names_alone, table
from rivet.cli.text import since


@click.group()
def project() -> None:
    """Projects: each has pipelines, secrets and caches of its own. `default` is there from the start.

    Example: rivet project list
    """


@project.command()
@click.argument("name")
@quiet_option
@json_option
def create(name: str, quiet: bool, as_json: bool) -> None:
    """Create a project. Other commands work in it with --project.

    Example: rivet project create website
    """
    answer = server().call("POST", "/projects", {"name": name})
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    elif not quiet:
        click.echo(f"created {name}", err=True)
        click.echo(f"Look next: rivet run FILE --project {name}", err=True)


@project.command("list")
@quiet_option
@json_option
def list_projects(quiet: bool, as_json: bool) -> None:
    """List the projects.

    Example: rivet project list
    """
    answer = server().call("GET", "/projects?limit=500")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    if quiet:
        names_alone(answer["items"], "name")
        return
    rows = [(str(one["name"]), str(one["pipelines"]), since(one["created_at"])) for one in answer["items"]]
    table(("PROJECT", "PIPELINES", "CREATED"), rows, empty="There are no projects.")


@project.command()
@click.argument("name")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@quiet_option
@json_option
def delete(name: str, yes: bool, quiet: bool, as_json: bool) -> None:
    """Delete a project with its pipelines, runs, secrets and caches. On a terminal it asks first; elsewhere
    --yes is needed.

    Example: rivet project delete website --yes
    """
    question = f"Delete {name} with all of its pipelines, runs and secrets?"
    confirm_deletion(name, "all that is in it", question, yes)
    server().call("DELETE", f"/projects/{quote(name, safe='')}")
    if as_json:
        click.echo(json.dumps({"deleted": name}))
    elif not quiet:
        click.echo(f"deleted {name}", err=True)
