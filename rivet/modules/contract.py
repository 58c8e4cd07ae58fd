"""The one declaration of a module's function: validation, binding, stub and reference come from it.

    class Get(Call, module="env", short=("name", "default")):
        '''The value of a variable or parameter.'''

        name: str = about("the variable's name")
        default: str | None = about("what to give where it is not set", default=None)

        def act(self, stage: StageContext) -> str | None: ...

A call in Lua takes one table, or the short form's values in order. Every field is checked before `act`
is reached; what is wrong raises `CallError`, whose message names module, function, field, what was given
and what is expected.
"""

import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from rivet.domain.wording import shown
from rivet.modules.fields import (
    CallError,
    Duration,
    Field,
    Name,
    WorkspacePath,
    about,
    check_fields,
)

__all__ = [
    "Call", "CallError", "Duration", "Name", "Process", "StageContext", "WorkspacePath", "about",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Process:
    """A command that ended by itself in the stage's room.

    `tail` are the last lines it wrote, `hint` what may help whose command failed so (empty: nothing).
    """

    exit_code: int
    stdout: bytes
    stderr: bytes
    seconds: float
    tail: Sequence[str]
    hint: str = ""


class StageContext(Protocol):
    """What a module's function may use of the stage it is called in: its only way to act."""

    env: Mapping[str, str]
    """Variables and parameters as `env` sees them: pipeline, stage, inputs as text."""

    inputs: Mapping[str, Any]
    """The run's parameters, typed as declared."""

    outputs: dict[str, Any]
    """Values set by this and earlier stages; `set_output` writes."""

    facts: Mapping[str, Any]
    """The recorded values of `run`: id, number, pipeline, project, trigger, actor."""

    def say(self, level: str, text: str) -> None:
        """One entry of the log, `debug`, `info`, `warn` or `error`; may have several lines."""

    def set_output(self, name: str, value: Any) -> None: ...

    def set_summary(self, markdown: str) -> None: ...

    def run_process(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str,
        stdin: bytes | None,
        timeout_s: float | None,
        capture: bool,
        quiet: bool = False,
    ) -> Process:
        """Run a command in the stage's room until it ends. Its output goes to the log unless `quiet`.

        Raises CallError where it cannot be started, runs out of time, or was cancelled.
        """

    def fetch_git(self, url: str, ref: str | None, commit: str | None, depth: int, path: str) -> str:
        """Bring a repository into `path`, in a room of its own for the network half; the commit's hash."""


class Call:
    """The base of every declaration: subclasses are modules' functions."""

    of_module: ClassVar[str]
    function: ClassVar[str]
    short_form: ClassVar[tuple[str, ...]]
    oneway: ClassVar[bool]
    declared: ClassVar[Mapping[str, Field]]
    hints: ClassVar[Mapping[str, Any]]
    example: ClassVar[str] = ""

    def __init_subclass__(
        cls, *, module: str, name: str | None = None, short: tuple[str, ...] = (), oneway: bool = False
    ) -> None:
        cls.of_module = module
        cls.function = name or _snake(cls.__name__)
        cls.short_form = short
        cls.oneway = oneway
        hints = typing.get_type_hints(cls)
        cls.declared = {
            key: value for key in hints if isinstance(value := cls.__dict__.get(key), Field)
        }
        cls.hints = {key: hints[key] for key in cls.declared}
        unknown = set(short) - set(cls.declared)
        if unknown:
            raise TypeError(f"{cls.title()}: its short form names unknown fields {sorted(unknown)}")

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def act(self, stage: StageContext) -> Any:
        """Do it; what is returned goes back to the script. Raises CallError."""
        raise CallError(f"{self.title()} does nothing here")

    @classmethod
    def title(cls) -> str:
        return f"{cls.of_module}.{cls.function}"

    @classmethod
    def bind(cls, args: Sequence[Any]) -> "Call":
        """The call that `args` (as Lua gave them) ask for. Raises CallError naming the field."""
        return cls(**check_fields(cls.title(), cls.declared, cls.hints, _named(cls, args)))


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _named(cls: type[Call], args: Sequence[Any]) -> dict[str, Any]:
    """Arguments by name, from one table or from the short form."""
    first = args[0] if args else None
    if len(args) == 1 and isinstance(first, dict) and (not cls.short_form or _looks_named(cls, first)):
        if not all(isinstance(key, str) for key in first):
            raise CallError(f"{cls.title()}: takes a table of named fields, given a table with numbered ones")
        return dict(first)
    if len(args) > len(cls.short_form):
        takes = f"{len(cls.short_form)} values" if cls.short_form else "one table of named fields"
        given = shown(first) if len(args) == 1 else f"{len(args)} values"
        raise CallError(f"{cls.title()}: takes {takes}, given {given}")
    return dict(zip(cls.short_form, args, strict=False))


def _looks_named(cls: type[Call], first: Mapping[Any, Any]) -> bool:
    """A single table is the named form unless the short form's first field itself takes a table."""
    return bool(first) and not _takes_table(cls.hints[cls.short_form[0]])


def _takes_table(hint: Any) -> bool:
    if hint is Any:
        return False
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(_takes_table(part) for part in typing.get_args(hint))
    return typing.get_origin(hint) in (list, dict) or hint in (list, dict)
