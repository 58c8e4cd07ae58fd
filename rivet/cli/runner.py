"""`rivet runner`: start one, list them, make tokens for them."""

import json
from urllib.parse import quote

import click

from rivet.cli import pausing
from rivet.cli.failures import USAGE, Failed
from rivet.cli.options import json_option, quiet_option
from rivet.cli.server import server
from rivet.cli.show import names_alone, table
from rivet.cli.text import since


@click.group()
def runner() -> None:
    """Runners: the machines' processes that stages run on.

    Example: rivet runner list
    """


@runner.command()
@click.option(
    "--queue", "queues", metavar="NAMES", help="Queues to serve, separated by commas. Default: default."
)
@click.option("--slots", type=click.IntRange(1, 256), help="How many jobs to work on at once. Default: 2.")
@click.option("--name", help="The runner's name. Default: the host's, with -runner.")
def start(queues: str | None, slots: int | None, name: str | None) -> None:
    """Be a runner, a Celery worker with the right options, until it is asked to end.

    It needs RIVET_URL, RIVET_TOKEN (of a runner) and RIVET_BROKER_URL. SIGTERM lets it end what it works on.

    Example: rivet runner start --queue default,gpu --slots 2
    """
    from rivet.cli.parts import become
    from rivet.wiring.settings import Settings

    given = {"queues": queues, "slots": slots, "runner_name": name}
    settings = Settings(**{key: value for key, value in given.items() if value is not None})  # type: ignore[arg-type]
    missing = [f"RIVET_{key.upper()}" for key in ("url", "token", "broker_url") if not getattr(settings, key)]
    if missing:
        raise Failed(
            f"{', '.join(missing)} must be set; `rivet runner token` makes a token. "
            "On one machine, `rivet up` starts a runner by itself.",
            USAGE,
        )
    from rivet.wiring.commands import runner_command

    become(*runner_command(settings))


@runner.command("list")
@quiet_option
@json_option
def list_runners(quiet: bool, as_json: bool) -> None:
    """List the runners that the server knows.

    Example: rivet runner list --json
    """
    answer = server().call("GET", "/runners?limit=500")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    if quiet:
        names_alone(answer["items"], "name")
        return
    rows = [
        (
            str(one.get("name", "")),
            str(one.get("status", "")),
            ", ".join(one.get("queues") or ()),
            str(one.get("slots", "")),
            str(one.get("isolation") or ""),
            since(one.get("seen_at")),
            pausing.shown(one.get("paused")),
        )
        for one in answer["items"]
    ]
    heads = ("NAME", "STATUS", "QUEUES", "SLOTS", "ISOLATION", "LAST HEARD", "PAUSED")
    table(heads, rows, empty="There are no runners.")


@runner.command()
@click.argument("name")
@quiet_option
def drain(name: str, quiet: bool) -> None:
    """Let a runner finish the jobs it holds and end; it takes nothing new.

    Example: rivet runner drain build-7
    """
    server().call("POST", f"/runners/{quote(name, safe='')}/drain")
    if not quiet:
        click.echo(f"{name} takes nothing new and ends when what it holds is finished", err=True)


@runner.command()
@click.argument("name")
@pausing.why_option
@quiet_option
@json_option
def pause(name: str, why: str, quiet: bool, as_json: bool) -> None:
    """Let a runner take nothing new until it is resumed. What it holds goes on, and it does not end.

    Example: rivet runner pause build-7 --why "its disk is being replaced"
    """
    pausing.pause(f"/runners/{quote(name, safe='')}", f"runner {name}", why, quiet=quiet, as_json=as_json)


@runner.command()
@click.argument("name")
@quiet_option
@json_option
def resume(name: str, quiet: bool, as_json: bool) -> None:
    """Let a paused runner take jobs again.

    Example: rivet runner resume build-7
    """
    pausing.resume(f"/runners/{quote(name, safe='')}", f"runner {name}", quiet=quiet, as_json=as_json)


@runner.command()
@click.option("--queue", "queues", default="default", show_default=True, help="Queues it may serve.")
@click.option("--name", default="runner", show_default=True, help="What the token is called in lists.")
@json_option
def token(queues: str, name: str, as_json: bool) -> None:
    """Make a token for runners of these queues. It is shown once, and cannot be shown again.

    Example: rivet runner token --queue default,gpu
    """
    wanted = [queue.strip() for queue in queues.split(",") if queue.strip()]
    answer = server().call("POST", "/runners/tokens", {"name": name, "queues": wanted})
    click.echo(json.dumps(answer, indent=2) if as_json else answer["token"])
