"""`rivet check`: validate pipeline files on this machine, without a server."""

import contextlib
import json
import threading
from collections.abc import Collection
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import click

from rivet.cli.failures import ERRORED, FAILED, Failed
from rivet.cli.options import json_option, quiet_option
from rivet.cli.source import read_source

if TYPE_CHECKING:
    from rivet.sandbox.lua import Zygote


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@quiet_option
@json_option
def check(files: tuple[str, ...], quiet: bool, as_json: bool) -> int:
    """Validate pipeline files. Each finding is `file:line:column: message`; exit code 1 if one is an error.

    The files are evaluated in the same sandbox as on a server, which need not be there.

    Example: rivet check pipeline.lua
    """
    from rivet.sandbox.lua import NoChild, Zygote

    checked = []
    with Zygote() as zygote:
        # Its process starts while what reads its answers is being loaded.
        threading.Thread(target=_warm, args=(zygote,), daemon=True).start()
        from rivet.sandbox.definition import check as check_source

        plugins = _plugin_names()
        for file in files:
            source = read_source(file)
            try:
                found = check_source(zygote, source, file, plugins=plugins)
            except NoChild as error:
                raise Failed(
                    f"the Lua sandbox does not start: {error}; see `rivet doctor`", ERRORED
                ) from error
            checked.append((file, found))
    broken = [file for file, found in checked if found.errors]
    if as_json:
        documents = [
            {
                "file": file,
                "valid": not found.errors,
                "slug": found.definition.slug if found.definition else None,
                "findings": [place.as_dict() for place in found.places],
            }
            for file, found in checked
        ]
        click.echo(json.dumps({"items": documents}, indent=2))
        return FAILED if broken else 0
    for file, found in checked:
        for place in found.places:
            click.echo(place.told(file))
        if not found.places and not quiet and found.definition is not None:
            stages = len(found.definition.stages)
            count = "stages from a function" if found.definition.stages_from_function else f"{stages} stages"
            click.echo(f"{file}: {found.definition.slug}, {count}: no findings", err=True)
    return FAILED if broken else 0


def _warm(zygote: "Zygote") -> None:
    from rivet.sandbox.lua import NoChild

    with contextlib.suppress(NoChild):  # it is said where a child is asked for
        zygote.start()


def _plugin_names() -> Collection[str]:
    """Modules that plug-ins bring along; what it takes to check them is loaded only where there are some."""
    if not entry_points(group="rivet.modules"):
        return ()
    from rivet.modules.plugins import ALL, plugin_names

    return plugin_names([ALL])
