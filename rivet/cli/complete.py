"""What the shell completes: names of pipelines and of runs, asked of the server for a second at most."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

ASKED_FOR_S = 1.0
MOST = 50


def pipeline_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Slugs of the project's pipelines."""
    path = f"/projects/{quote(_project(ctx), safe='')}/pipelines?limit=500"
    return [slug for slug in _asked(path, lambda one: [str(one["slug"])]) if slug.startswith(incomplete)]


def pipeline_or_file(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Slugs, and the shell's own completion of files."""
    from click.shell_completion import CompletionItem

    if "/" in incomplete or incomplete.startswith("."):
        return [CompletionItem(incomplete, type="file")]
    names = pipeline_names(ctx, param, incomplete)
    return [*(CompletionItem(name) for name in names), CompletionItem(incomplete, type="file")]


def run_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The newest runs, as `pipeline#12`, or by id where a part of an id was typed."""
    path = f"/runs?{urlencode({'project': _project(ctx), 'limit': MOST})}"
    found = _asked(path, lambda one: [f"{one['pipeline']}#{one['number']}", str(one["id"])])
    numbered = [name for name in found if "#" in name and name.startswith(incomplete)]
    by_id = [name for name in found if "#" not in name and incomplete and name.startswith(incomplete)]
    return numbered or by_id


def _project(ctx: click.Context) -> str:
    return str(ctx.params.get("project") or "default")


def _asked(path: str, names: Callable[[dict[str, object]], list[str]]) -> list[str]:
    """Names out of a list of the API; none where it does not answer in time. A shell waits for it."""
    found: list[str] = []

    def ask() -> None:
        try:
            from rivet.cli.server import find_server

            client = find_server()
            if client is not None:
                items = client.call("GET", path, timeout_s=ASKED_FOR_S)["items"]
                found.extend(name for one in items for name in names(one))
        except Exception:  # noqa: BLE001 - whatever it is, a person who completes a word is not told
            return

    asking = threading.Thread(target=ask, name="complete", daemon=True)
    asking.start()
    asking.join(ASKED_FOR_S)
    return list(found)
