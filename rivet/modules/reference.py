"""The modules as pages of documentation: tables in Markdown, read from the declarations."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rivet.modules.contract import Call
from rivet.modules.fields import MISSING
from rivet.modules.registry import FUNCTIONS, Functions
from rivet.modules.run import STAGE_VALUES, VALUES

BEGIN, END = "<!-- begin: modules -->", "<!-- end: modules -->"


def reference(functions: Functions = FUNCTIONS) -> str:
    """A table a module, in the order of `functions`: how each function is called, and what it does."""
    return "\n\n".join(_module(name, calls) for name, calls in functions.items())


def with_reference(page: str, functions: Functions = FUNCTIONS) -> str:
    """A page in which what stands between `BEGIN` and `END` is the reference of these functions."""
    within = re.compile(f"{BEGIN}\n.*?{END}", re.DOTALL)
    return within.sub(lambda _: f"{BEGIN}\n{reference(functions)}\n{END}", page)


def _module(name: str, calls: Mapping[str, type[Call]]) -> str:
    rows = [f"| `{called(call)}` | {_said(call)} |" for call in calls.values() if not _is_end(call)]
    if name == "run":
        values = (*VALUES, *STAGE_VALUES)
        rows[:0] = [f"| `run.{value}` | {_VALUES_OF_RUN[value]} |" for value in values]
    return "\n".join([f"### `{name}`", "", "| function | does |", "| --- | --- |", *rows])


def called(call: type[Call]) -> str:
    """How it is written: `process.run{command, args?, check=true}`, `env.get(name, default?)`."""
    if call.short_form:
        names = [_named(call, name) for name in call.short_form]
        return f"{call.title()}({', '.join(names)})"
    names = [_named(call, name) for name in call.declared]
    return f"{call.title()}{{{', '.join(names)}}}" if names else f"{call.title()}()"


def _named(call: type[Call], name: str) -> str:
    default = call.declared[name].default
    if default is MISSING or name == "fn":
        return name
    if isinstance(default, bool):
        return f"{name}={str(default).lower()}"
    return f"{name}={default!r}".replace("'", '"') if isinstance(default, str | int | float) else f"{name}?"


def _said(call: type[Call]) -> str:
    told = " ".join((call.__doc__ or "").split())
    fields = list(_fields(call))
    return " ".join([told, *([f"Fields: {'; '.join(fields)}."] if fields else [])]).replace("|", "\\|")


def _fields(call: type[Call]) -> Iterator[str]:
    for name, field in call.declared.items():
        yield f"`{name}` {field.description}"


def _is_end(call: type[Call]) -> bool:
    return call.function.endswith(":end")


_VALUES_OF_RUN: Mapping[str, str] = {
    "id": "the run's id",
    "pipeline": "the pipeline's slug",
    "project": "the project",
    "trigger": "what started the run: `manual`, for one that a person or a program started",
    "actor": "who started it",
    "number": "which run of its pipeline it is, from 1; in stages alone",
    "attempt": "which attempt of the stage this is, from 1; in stages alone",
    "status": "the end that the run is heading for; in `finally` alone",
    "failed_stage": "the name of the stage that failed, if one did; in `finally` alone",
}


def main(pages: Sequence[str]) -> None:
    """Write the reference of our modules into these files anew, where it stands between `BEGIN` and `END`."""
    for page in map(Path, pages):
        page.write_text(with_reference(page.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
