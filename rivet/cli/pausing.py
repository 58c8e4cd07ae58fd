"""Pausing and resuming, as `rivet pipeline`, `rivet queue` and `rivet runner` do it alike."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import click

from rivet.cli.server import server
from rivet.cli.text import since


def why_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--why`, which whoever asks what nothing begins for is told."""
    return click.option("--why", required=True, metavar="TEXT", help="The reason, for whoever asks.")(command)


def pause(path: str, name: str, why: str, *, quiet: bool, as_json: bool) -> None:
    """Pause what the API has at `path`."""
    answer = server().call("POST", f"{path}/pause", {"why": why})
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    elif not quiet:
        click.echo(f"{name} is paused; what runs goes on, and what is to begin waits", err=True)


def resume(path: str, name: str, *, quiet: bool, as_json: bool) -> None:
    """Take the pause of what the API has at `path` back."""
    answer = server().call("POST", f"{path}/resume")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    elif not quiet:
        jobs = "1 job" if answer["published"] == 1 else f"{answer['published']} jobs"
        click.echo(f"{name} is resumed: {jobs} that waited may begin", err=True)


def shown(paused: Mapping[str, Any] | None) -> str:
    """A pause in a table; nothing where there is none."""
    return "" if not paused else f"{paused['why']} ({paused['actor']}, {since(paused['since'])})"
