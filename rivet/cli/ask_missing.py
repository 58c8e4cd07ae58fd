"""Ask a person for the inputs of a run that are missing."""

import re
from collections.abc import Mapping
from typing import Any

import click

from rivet.cli.text import harmless
from rivet.client import Client
from rivet.domain.inputs import UnfitValue, fit
from rivet.domain.pipeline import Input

_SECRET_LIKE = re.compile(r"(?i)(password|passwd|passphrase|secret|token|api_?key|private_?key|credential)")


def ask_missing(client: Client, project: str, pipeline: str, given: Mapping[str, str]) -> dict[str, str]:
    """Ask for the required inputs that were not given, each until it fits; none where none is missing.

    Raises Failed, and ApiProblem for what was given and does not fit.
    """
    from rivet.cli.plan import ask_plan

    planned = ask_plan(client, project, pipeline, given)
    return {each["name"]: _ask(each) for each in planned["inputs"] if each["missing"]}


def is_secret_like(name: str) -> bool:
    """Whether what is typed under such a name had better not be seen."""
    return _SECRET_LIKE.search(name) is not None


def _ask(each: Mapping[str, Any]) -> str:
    declared = Input(
        name=each["name"], type=each["type"], options=tuple(each["options"]), pattern=each["pattern"],
        description=each["description"],
    )  # fmt: skip
    hidden = is_secret_like(declared.name)
    about = f" ({declared.description})" if declared.description else ""
    choices = f" [{', '.join(_text(option) for option in declared.options)}]" if declared.options else ""
    if hidden:
        click.echo(
            "Inputs are kept with the run and can be read there; `rivet secret set` is for secrets.", err=True
        )
    return str(
        click.prompt(
            harmless(f"{declared.name}{about}{choices}"),
            hide_input=hidden,
            value_proc=lambda text: _fitting(declared, text, hidden=hidden),
            err=True,
        )
    )


def _fitting(declared: Input, text: str, *, hidden: bool) -> str:
    try:
        fit(declared, text)
    except UnfitValue as unfit:
        given = "" if hidden else f", given {harmless(text)}"
        raise click.BadParameter(f"expected {unfit}{given}") from None
    return text


def _text(option: object) -> str:
    return str(option).lower() if isinstance(option, bool) else str(option)
