"""`rivet runs logs` and `rivet runs watch`: what a run has said, and what it says."""

import json
import re
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import click

from rivet.cli.complete import run_names
from rivet.cli.follow import Follower, follow_to_the_end
from rivet.cli.log_filter import Wanted, lines_of, pattern_of
from rivet.cli.options import json_option, project_option, quiet_option
from rivet.cli.runs import find_run, run_name, runs, stage_key
from rivet.cli.server import server
from rivet.cli.text import raw, shown, shown_block
from rivet.client import Client


@runs.command()
@click.argument("name", metavar="RUN", shell_complete=run_names)
@click.option("--follow", "-f", is_flag=True, help="Go on until the run ends; the exit code says how.")
@click.option("--stage", metavar="NAME", help="Of this stage only.")
@click.option("--grep", metavar="PATTERN", help="Only lines in which this regular expression is found.")
@click.option("--tail", type=click.IntRange(1), metavar="N", help="Of the last N lines only.")
@click.option("--raw", "as_bytes", is_flag=True, help="The very bytes, control characters included.")
@project_option
@quiet_option
@json_option
def logs(
    name: str,
    follow: bool,
    stage: str | None,
    grep: str | None,
    tail: int | None,
    as_bytes: bool,
    project: str,
    quiet: bool,
    as_json: bool,
) -> int:
    """Print the log of a run.

    Example: rivet runs logs example-pipeline#12 --stage test --tail 100
    """
    client = server()
    run = find_run(client, name, project)
    key, pattern = stage_key(run, stage), pattern_of(grep)
    if follow and not _stands(run, key):
        total = int(run.get("lines") or 0) if key is None else lines_of(run, key)
        wanted = Wanted(key, pattern, max(0, total - tail) if tail else 0)
        return _follow(client, run, wanted, quiet=quiet, as_json=as_json, as_bytes=as_bytes)
    query: dict[str, Any] = {"stage": key, "tail": tail}
    if as_json:
        query["format"] = "ndjson"
    elif as_bytes and pattern is None:
        query["raw"] = 1
    given = urlencode({key: value for key, value in query.items() if value is not None})
    out = sys.stdout.buffer
    for block in client.blocks(f"/runs/{run['id']}/logs" + (f"?{given}" if given else "")):
        out.write(_block(block, pattern, as_json=as_json, as_bytes=as_bytes))
    out.flush()
    return 0


def _stands(run: Mapping[str, Any], key: str | None) -> bool:
    """Whether the stage ran in another run, of which this one is a rerun: its log is whole."""
    return any(stage["key"] == key and stage.get("from_run") for stage in run["stages"])


@runs.command()
@click.argument("name", metavar="RUN", shell_complete=run_names)
@project_option
@quiet_option
@json_option
def watch(name: str, project: str, quiet: bool, as_json: bool) -> int:
    """Follow a run to its end, from its first line on. The exit code says how it ended.

    On a terminal its stages stay in view beneath the log, and Ctrl-C asks whether to cancel the run, to
    detach, or to go on; elsewhere Ctrl-C detaches. A second Ctrl-C ends the command at once.

    Example: rivet runs watch example-pipeline#12
    """
    client = server()
    run = find_run(client, name, project)
    return _follow(client, run, Wanted(), quiet=quiet, as_json=as_json, as_bytes=False)


def _follow(
    client: Client, run: Mapping[str, Any], wanted: Wanted, *, quiet: bool, as_json: bool, as_bytes: bool
) -> int:
    follower = Follower(client, run, run_name(run), quiet, as_json, as_bytes, wanted)
    return follow_to_the_end(follower)


def _block(block: bytes, pattern: re.Pattern[str] | None, *, as_json: bool, as_bytes: bool) -> bytes:
    """Whole lines as they are to be printed."""
    if pattern is None:
        plain = as_json or as_bytes
        return block if plain else shown_block(block.decode("utf-8", "replace")).encode()
    lines = block.decode("utf-8", "replace").removesuffix("\n").split("\n")
    if as_json:
        found = [line.encode() for line in lines if pattern.search(shown(str(_text_of(line))))]
    elif as_bytes:
        found = [raw(line) for line in lines if pattern.search(shown(line))]
    else:
        found = [line.encode() for line in map(shown, lines) if pattern.search(line)]
    return b"".join(line + b"\n" for line in found)


def _text_of(line: str) -> object:
    return json.loads(line).get("text")
