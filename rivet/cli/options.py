"""Options that many commands have, said once."""

from collections.abc import Callable
from typing import Any

import click

Command = Callable[..., Any]


def project_option(command: Command) -> Command:
    """`--project`, `default` if it is not given."""
    return click.option(
        "--project", default="default", show_default=True, metavar="NAME", help="The project to work in."
    )(command)


def json_option(command: Command) -> Command:
    """`--json`: one document, or one line an event where a command streams."""
    return click.option("--json", "as_json", is_flag=True, help="For machines: JSON on standard output.")(
        command
    )


def quiet_option(command: Command) -> Command:
    """`--quiet`: the result alone."""
    return click.option("--quiet", "-q", is_flag=True, help="Say nothing but the result.")(command)
