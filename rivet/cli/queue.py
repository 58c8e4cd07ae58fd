"""`rivet queue`: what waits in the queues, and pausing them."""

import json
from urllib.parse import quote

import click

from rivet.cli import pausing
from rivet.cli.options import json_option, quiet_option
from rivet.cli.server import server
from rivet.cli.show import names_alone, table


@click.group()
def queue() -> None:
    """Queues: what runners serve and jobs wait in.

    Example: rivet queue list
    """


@queue.command("list")
@quiet_option
@json_option
def list_queues(quiet: bool, as_json: bool) -> None:
    """List the queues that a runner serves, that a job waits for, or that are paused.

    Example: rivet queue list
    """
    answer = server().call("GET", "/queues?limit=500")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    if quiet:
        names_alone(answer["items"], "name")
        return
    rows = [
        (
            str(one["name"]), str(one["queued"]), str(one["running"]), str(one["runners"]),
            pausing.shown(one["paused"]),
        )
        for one in answer["items"]
    ]  # fmt: skip
    table(("QUEUE", "QUEUED", "RUNNING", "RUNNERS", "PAUSED"), rows, empty="No runner serves any queue yet.")


@queue.command()
@click.argument("name")
@pausing.why_option
@quiet_option
@json_option
def pause(name: str, why: str, quiet: bool, as_json: bool) -> None:
    """Let the jobs of a queue wait. What runs goes on.

    Example: rivet queue pause gpu --why "the driver is being renewed"
    """
    pausing.pause(_path(name), f"queue {name}", why, quiet=quiet, as_json=as_json)


@queue.command()
@click.argument("name")
@quiet_option
@json_option
def resume(name: str, quiet: bool, as_json: bool) -> None:
    """Let the jobs of a paused queue begin.

    Example: rivet queue resume gpu
    """
    pausing.resume(_path(name), f"queue {name}", quiet=quiet, as_json=as_json)


def _path(name: str) -> str:
    return f"/queues/{quote(name, safe='')}"
