"""`rivet login`: sign in to a server, and remember it as a context."""

import json
import re
import sys
from urllib.parse import urlsplit

import click

from rivet.cli.contexts import Context, contexts_file, read_contexts, write_contexts
from rivet.cli.failures import USAGE, Failed
from rivet.cli.options import json_option, quiet_option
from rivet.client import Client

MOST_TOKEN = 4096


@click.command()
@click.argument("url")
@click.option("--name", help="What the context is called. Default: the server's host and port.")
@quiet_option
@json_option
def login(url: str, name: str | None, quiet: bool, as_json: bool) -> None:
    """Sign in to a server with a token, which is asked for, or read from standard input; never an argument.

    The server is asked whether it takes the token. Then both are remembered as a context, which is the
    current one from then on.

    Example: rivet login http://127.0.0.1:8080 --name work < token
    """
    called = name or _name_of(url)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}", called):
        raise Failed(f'"{called}" is no name of a context: letters, digits, ".", "_", ":" and "-"', USAGE)
    client = Client(url, _token(url))
    client.call("GET", "/runs?limit=1")
    write_contexts(read_contexts().with_one(called, Context(client.url, client.token)))
    if as_json:
        click.echo(json.dumps({"name": called, "url": client.url, "current": True}, indent=2))
    elif not quiet:
        click.echo(f"signed in to {client.url}; the context {called} is kept in {contexts_file()}", err=True)


def _name_of(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2] or url
    except ValueError:
        return url


def _token(url: str) -> str:
    if sys.stdin.isatty():
        return str(click.prompt(f"Token for {url} (not shown)", hide_input=True, err=True)).strip()
    token = sys.stdin.read(MOST_TOKEN).strip()
    if not token:
        raise Failed(
            "standard input has no token in it; `rivet status` names the file of the local one", USAGE
        )
    return token
