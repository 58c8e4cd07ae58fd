"""`rivet secret`: set, list and delete secrets. A value is typed, or read from a file or standard input."""

import base64
import json
import sys
from pathlib import Path
from urllib.parse import quote

import click

from rivet.cli.failures import USAGE, Failed
from rivet.cli.options import json_option, project_option, quiet_option
from rivet.cli.server import server
from rivet.cli.show import names_alone, table
from rivet.cli.text import since

MOST_BYTES = 64 * 1024


@click.group()
def secret() -> None:
    """Secrets: values that only some pipelines may use, and that nobody can read back.

    Example: rivet secret set DEPLOY_TOKEN --pipeline example-pipeline
    """


@secret.command("set")
@click.argument("name")
@click.option("--file", metavar="FILE", help="Take this file's bytes as the value; - is standard input.")
@click.option("--pipeline", "pipelines", multiple=True, metavar="NAME", help="May use it; can be repeated.")
@click.option("--all-pipelines", is_flag=True, help="Every pipeline of the project may use it.")
@click.option(
    "--branch",
    "branches",
    multiple=True,
    metavar="GLOB",
    help="Only runs on such branches may, of the pipelines allowed; can be repeated.",
)
@project_option
@quiet_option
@json_option
def set_secret(
    name: str,
    file: str | None,
    pipelines: tuple[str, ...],
    all_pipelines: bool,
    branches: tuple[str, ...],
    project: str,
    quiet: bool,
    as_json: bool,
) -> None:
    """Set a secret's value, and who may use it. Without --file it is asked for, or read from standard input.

    An existing secret keeps its users unless some are given. The value is never an argument: arguments can be
    seen by everyone on the machine.

    Example: rivet secret set DEPLOY_TOKEN --pipeline example-pipeline --branch main
    """
    client = server()
    body: dict[str, object] = {"base64": base64.b64encode(_value(name, file)).decode()}
    if pipelines or all_pipelines or branches:
        body |= {"pipelines": pipelines, "all_pipelines": all_pipelines, "branches": branches}
    answer = client.call("PUT", _path(project, name), body)
    for warning in answer["warnings"]:
        click.echo(f"Warning: {warning}", err=True)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    elif not quiet:
        click.echo(f"set {answer['name']} for {_users(answer)}")


@secret.command("list")
@click.option("--limit", type=click.IntRange(1, 500), default=100, show_default=True)
@project_option
@quiet_option
@json_option
def list_secrets(limit: int, project: str, quiet: bool, as_json: bool) -> None:
    """List the secrets of a project: names and who may use them, no values.

    Example: rivet secret list --json
    """
    answer = server().call("GET", f"{_path(project)}?limit={limit}")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    if quiet:
        names_alone(answer["items"], "name")
        return
    rows = [
        (str(one["name"]), _users(one), str(one["set_by"]), since(one["updated_at"]))
        for one in answer["items"]
    ]
    table(("SECRET", "MAY BE USED BY", "SET BY", "SET"), rows, empty="There are no secrets in this project.")


@secret.command()
@click.argument("name")
@project_option
@quiet_option
@json_option
def delete(name: str, project: str, quiet: bool, as_json: bool) -> None:
    """Delete a secret. Stages that ask for it from then on fail.

    Example: rivet secret delete DEPLOY_TOKEN
    """
    server().call("DELETE", _path(project, name))
    if as_json:
        click.echo(json.dumps({"deleted": name}))
    elif not quiet:
        click.echo(f"deleted {name}")


def _value(name: str, file: str | None) -> bytes:
    """The bytes of the value. Raises Failed if there are none, or too many."""
    if file is not None and file != "-":
        try:
            with Path(file).open("rb") as opened:
                raw = opened.read(MOST_BYTES + 1)
        except OSError as error:
            raise Failed(f"{file}: {error.strerror}", USAGE) from error
    elif file is None and sys.stdin.isatty():
        asked = f"Value of {name} (not shown)"
        typed = click.prompt(asked, hide_input=True, confirmation_prompt=True, err=True)
        raw = str(typed).encode("utf-8", "surrogateescape")
    else:
        raw = sys.stdin.buffer.read(MOST_BYTES + 1)
        if file is None:
            raw = _without_line_end(raw)
    if not raw:
        source = file if file not in (None, "-") else "standard input"
        raise Failed(f"{name}: {source} has nothing in it; a secret has at least one byte", USAGE)
    if len(raw) > MOST_BYTES:
        raise Failed(f"{name}: the value has over {MOST_BYTES} bytes, the most that a secret may have", USAGE)
    return raw


def _without_line_end(raw: bytes) -> bytes:
    """Of a single line, as `echo` writes it, the end is not meant; of several, as in a key, it is."""
    line = raw.removesuffix(b"\n").removesuffix(b"\r")
    return line if b"\n" not in line else raw


def _users(answer: dict[str, object]) -> str:
    """Who may use a secret, in words."""
    pipelines, branches = answer["pipelines"], answer["branches"]
    who = "all pipelines" if answer["all_pipelines"] else ", ".join(map(str, _listed(pipelines)))
    return who + (f" on {', '.join(map(str, _listed(branches)))}" if branches else "")


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else []


def _path(project: str, name: str | None = None) -> str:
    path = f"/projects/{quote(project, safe='')}/secrets"
    return path if name is None else f"{path}/{quote(name, safe='')}"
