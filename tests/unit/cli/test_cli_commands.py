"""Every command says what it is for, and none loads what it does not need."""

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from rivet.cli import COMMANDS, cli


def all_commands(group: click.Group, names: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield " ".join((*names, name)), command
        if isinstance(command, click.Group):
            yield from all_commands(command, (*names, name))


EVERY = dict(all_commands(cli))


@pytest.mark.parametrize("name", EVERY)
def test_help_says_what_a_command_does_with_an_example(name: str) -> None:
    told = EVERY[name].help or ""
    assert told.strip().splitlines()[0].endswith((".", ":")) or "." in told
    assert "Example: " in told
    assert name.split()[0] in told.partition("Example: ")[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_what_the_overview_says_of_a_command_is_one_line(name: str) -> None:
    assert COMMANDS[name][1].endswith(".")
    assert len(COMMANDS[name][1]) < 80


@pytest.mark.parametrize("name", EVERY)
def test_every_option_is_explained(name: str) -> None:
    options = [one for one in EVERY[name].params if isinstance(one, click.Option) and not one.hidden]
    assert [one.name for one in options if not one.help and one.name not in ("port", "limit")] == []


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["runs", "list", "--help"]])
def test_the_command_line_loads_no_server(arguments: list[str]) -> None:
    program = (
        "import sys, runpy\n"
        f"sys.argv = ['rivet', *{arguments!r}]\n"
        "try:\n"
        "    runpy.run_module('rivet', run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        "heavy = {'celery', 'sqlalchemy', 'flask', 'redis', 'pydantic', 'lupa', 'alembic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
