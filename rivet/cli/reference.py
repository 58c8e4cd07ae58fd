"""The command line and the settings as pages of documentation, read from the commands and from `Settings`."""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from rivet.cli import cli

BEGIN, END = "<!-- begin: {} -->", "<!-- end: {} -->"
_DEFAULTS = {"home": "the platform's data folder", "runner_name": "the host's name with `-runner`"}


def every_command(
    group: click.Group = cli, names: tuple[str, ...] = ()
) -> Iterator[tuple[str, click.Command]]:
    """Every command of the tree with its words: `runs`, `runs list`."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None:
            yield " ".join((*names, name)), command
            if isinstance(command, click.Group):
                yield from every_command(command, (*names, name))


def examples(command: click.Command) -> list[str]:
    """The command lines of a command's help."""
    told = inspect.cleandoc(command.help or "")
    return [
        line.removeprefix("Example: ").strip() for line in told.splitlines() if line.startswith("Example: ")
    ]


def commands() -> str:
    """Each command: what it does, its arguments and options, an example."""
    return "\n\n".join(_command(words, command) for words, command in every_command())


def settings() -> str:
    """A row a setting."""
    from rivet.wiring.settings import Settings

    rows = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default_factory is not None else _shown(field.default)
        rows.append(f"| `RIVET_{name.upper()}` | {_DEFAULTS.get(name, default)} | {field.description} |")
    return "\n".join(rows)


def with_reference(page: str) -> str:
    """A page in which what stands between the marks is as commands and settings are now."""
    for name, written in (("commands", commands), ("settings", settings)):
        begin, end = BEGIN.format(name), END.format(name)
        if begin in page:
            before, _, rest = page.partition(begin)
            page = f"{before}{begin}\n{written()}\n{end}{rest.partition(end)[2]}"
    return page


def _command(words: str, command: click.Command) -> str:
    usage = " ".join(parameter.make_metavar(click.Context(command)) for parameter in command.params
                     if isinstance(parameter, click.Argument))  # fmt: skip
    heading = f"{'#' * (2 + len(words.split()))} `{' '.join(filter(None, ('rivet', words, usage)))}`"
    told = inspect.cleandoc(command.help or "")
    text = "\n".join(line for line in told.splitlines() if not line.startswith("Example: ")).strip()
    options = [
        f"| {', '.join(f'`{name}`' for name in option.opts)} | {_said(option)} |"
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden
    ]
    table = "\n".join(["| option | means |", "| --- | --- |", *options]) if options else ""
    shown = "\n".join(["```sh", *examples(command), "```"])
    return "\n\n".join(filter(None, (heading, text, table, shown)))


def _said(option: click.Option) -> str:
    default = f" Default: {option.default}." if option.show_default else ""
    return ((option.help or "") + default).strip().replace("|", "\\|")


def _shown(default: object) -> str:
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    if isinstance(default, bool):
        default = str(default).lower()
    if isinstance(default, float) and default.is_integer():
        default = int(default)
    return f"`{default}`" if default != "" else "none"


def main(pages: list[str]) -> None:
    """Write these files anew where they have marks."""
    for page in map(Path, pages):
        page.write_text(with_reference(page.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
