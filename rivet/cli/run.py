"""`rivet run`: start a run of a file or of a stored pipeline, and follow it."""

import json
import subprocess
import sys
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from rivet.cli.complete import pipeline_or_file
from rivet.cli.failures import UNREACHABLE, USAGE, Failed, findings_of
from rivet.cli.inputs import parse_inputs
from rivet.cli.options import json_option, project_option, quiet_option
from rivet.cli.server import find_server, server
from rivet.cli.source import is_file, read_source
from rivet.client import ApiProblem, Client

_START_TIMEOUT_S = 330.0


@click.command()
@click.argument("pipeline", metavar="FILE|NAME", shell_complete=pipeline_or_file)
@click.option("-i", "--input", "inputs", multiple=True, metavar="NAME=VALUE", help="An input; repeatable.")
@click.option(
    "--folder",
    is_flag=False,
    flag_value=".",
    metavar="[DIR]",
    help="Let the run start from this folder as it is now, without what git ignores. DIR: the present one.",
)
@click.option("--no-follow", is_flag=True, help="Return as soon as the run is accepted.")
@click.option("--save", is_flag=True, help="Publish the file as the pipeline's newest version first.")
@project_option
@quiet_option
@json_option
def run(
    pipeline: str,
    inputs: tuple[str, ...],
    folder: str | None,
    no_follow: bool,
    save: bool,
    project: str,
    quiet: bool,
    as_json: bool,
) -> int:
    """Start a run and follow its log live. The exit code says how it ended.

    An argument with / or ending in .lua is a file: the pipeline is created if there is none of its name, else
    the file runs as an unpublished version. With no server configured, the local one is started.

    On a terminal, required inputs that are not given are asked for, the stages stay in view beneath the log,
    and Ctrl-C asks whether to cancel the run, to detach and let it run, or to go on. Elsewhere Ctrl-C
    detaches. A second Ctrl-C ends the command at once; the run goes on.

    Example: rivet run pipeline.lua -i target=staging
    """
    given = parse_inputs(inputs)
    source = read_source(pipeline) if is_file(pipeline) else None
    if save and source is None:
        raise Failed(f"--save publishes a file, and {pipeline!r} names a stored pipeline.", USAGE)
    client = find_server() or _start_local()
    body: dict[str, Any] = {"inputs": given}
    slug = pipeline
    if source is not None:
        slug = slug_of(client, source, pipeline)
        body |= {"source": source} | ({"save": True} if save else {})
    if folder is not None:
        from rivet.cli.folder import upload_folder

        body["folder"] = upload_folder(client, project, folder)
    started = _submitted(client, project, slug, body, pipeline, may_ask=not as_json)
    name = f"{started['pipeline']}#{started['number']}"
    if no_follow:
        click.echo(json.dumps(started) if as_json else name)
        return 0
    if not quiet and not as_json:
        click.echo(f"run {name}, version {started.get('version') or 'unpublished'}   {started['id']}")
    # Loaded while the run begins: nobody waits for it.
    from rivet.cli.follow import Follower, follow_to_the_end

    follower = Follower(client, started, name, quiet, as_json)
    return follow_to_the_end(follower)


def _submitted(
    client: Client, project: str, slug: str, body: dict[str, Any], pipeline: str, *, may_ask: bool
) -> dict[str, Any]:
    """The run. On a terminal, required inputs that were not given are asked for, and it is tried again."""
    try:
        return submit(client, project, slug, body, file=pipeline)
    except ApiProblem as problem:
        if problem.code != "invalid_input" or not may_ask or not sys.stdin.isatty():
            raise
        from rivet.cli.ask_missing import ask_missing

        typed = ask_missing(client, project, pipeline, body["inputs"])
        if not typed:
            raise
        body["inputs"] |= typed
    return submit(client, project, slug, body, file=pipeline)


def slug_of(client: Client, source: str, file: str) -> str:
    """Which pipeline the file is. Raises Failed with every finding if it is none."""
    answer = client.call("POST", "/pipelines/check", {"source": source})
    slug = answer.get("slug")
    if slug:
        return str(slug)
    problem = ApiProblem(
        422, "invalid_pipeline", f"{file} is not a pipeline", {"findings": answer.get("findings")}
    )
    raise Failed("\n".join((problem.detail, *findings_of(problem, file))), USAGE)


def submit(client: Client, project: str, slug: str, body: Mapping[str, Any], *, file: str) -> dict[str, Any]:
    """Ask for the run, once however often the request is sent. Raises Failed with the file's findings."""
    path = f"/projects/{quote(project, safe='')}/pipelines/{quote(slug, safe='')}/runs"
    try:
        answer = client.call("POST", path, body, {"Idempotency-Key": str(uuid.uuid4())})
    except ApiProblem as problem:
        lines = findings_of(problem, file)
        if lines:
            raise Failed("\n".join((f"{file} is not a pipeline", *lines)), USAGE) from problem
        raise
    return dict(answer)


def _start_local() -> Client:
    """Start the whole system on this machine, in the background, and say so."""
    click.echo("rivet: no server is configured and none runs here; starting one on this machine", err=True)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "rivet", "up", "--detach"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=_START_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Failed("the local server was not ready in time; see `rivet status`", UNREACHABLE) from None
    if done.returncode != 0:
        raise Failed("the local server did not start; the reason is above", done.returncode or UNREACHABLE)
    client = server()
    click.echo(f"rivet: it runs at {client.url} and keeps running; stop it with `rivet down`", err=True)
    return client
