"""`rivet context`: the servers that a person has signed in to, and which of them is in use."""

import json

import click

from rivet.cli.contexts import read_contexts, write_contexts
from rivet.cli.options import json_option, quiet_option
from rivet.cli.show import table


def context_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """For the shell's completion."""
    return [name for name in read_contexts().by_name if name.startswith(incomplete)]


@click.group()
def context() -> None:
    """Contexts: servers that you have signed in to by `rivet login`. The current one is spoken to.

    RIVET_URL goes before it, and RIVET_TOKEN before its token.

    Example: rivet context list
    """


@context.command("list")
@quiet_option
@json_option
def list_contexts(quiet: bool, as_json: bool) -> None:
    """List the contexts. Their tokens are not shown.

    Example: rivet context list
    """
    contexts = read_contexts()
    items = [
        {"name": name, "url": one.url, "current": name == contexts.current}
        for name, one in sorted(contexts.by_name.items())
    ]
    if as_json:
        click.echo(json.dumps({"items": items, "next_cursor": None}, indent=2))
    elif quiet:
        for item in items:
            click.echo(str(item["name"]))
    else:
        rows = [("*" if item["current"] else "", str(item["name"]), str(item["url"])) for item in items]
        table(("", "CONTEXT", "SERVER"), rows, empty="There are no contexts; `rivet login URL` makes one.")


@context.command()
@click.argument("name", shell_complete=context_names)
@quiet_option
def use(name: str, quiet: bool) -> None:
    """Speak to this server from now on.

    Example: rivet context use work
    """
    chosen = read_contexts().using(name)
    write_contexts(chosen)
    if not quiet:
        click.echo(f"{name}: {chosen.by_name[name].url}", err=True)


@context.command()
@click.argument("name", shell_complete=context_names)
@quiet_option
def delete(name: str, quiet: bool) -> None:
    """Forget a server and the token for it. The token itself stays valid.

    Example: rivet context delete work
    """
    left = read_contexts().without(name)
    write_contexts(left)
    if not quiet:
        click.echo(f"deleted {name}" + ("" if left.current else "; no context is in use now"), err=True)
