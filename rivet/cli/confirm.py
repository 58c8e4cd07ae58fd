"""What cannot be undone is asked for once more."""

import sys

import click

from rivet.cli.failures import USAGE, Failed


def confirm_deletion(name: str, gone_with_it: str, question: str, yes: bool) -> None:
    """Ask on a terminal; elsewhere `--yes` has to say it. Raises Failed, click.Abort."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failed(f"{name} is deleted with {gone_with_it}: say --yes if that is meant", USAGE)
    click.confirm(question, abort=True, err=True)
