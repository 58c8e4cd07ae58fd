"""The one declaration of a module's function: validation, binding, stub and reference come from it.

    class Get(Call, module="env", short=("name", "default")):
        '''The value of a variable or parameter.'''

        name: str = about("the variable's name")
        default: str | None = about("what to give where it is not set", default=None)

        def act(self, stage: StageContext) -> str | None: ...

A call in Lua takes one table, or the short form's values in order. Every field is checked before `act`
is reached; what is wrong raises `CallError`, whose message names module, function, field, what was given
and what is expected.

A call with `handle=True` gives a number, for which the script gets an object; its methods are declared with
`of="start"` and find the number in `self.handle`. One with `around=True` is called before a function of the
script's, and what is declared as `name="end"` of it afterwards. What is `local=True` happens in the script's
own process and is declared to be described.
"""

import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol

from rivet.domain.annotation import Annotation
from rivet.domain.artifact import Contents
from rivet.domain.report import Case, Coverage
from rivet.domain.secret import Opaque
from rivet.domain.wording import shown
from rivet.modules.fields import (
    CallError,
    Duration,
    Field,
    Glob,
    Name,
    Secretive,
    Table,
    WorkspacePath,
    about,
    check_fields,
    declared_fields,
)
from rivet.modules.processes import Background, Launch, Process, Ready
from rivet.modules.web import Web
from rivet.modules.workspace import Files, Found

__all__ = [
    "Background", "Binding", "Call", "CallError", "Duration", "Files", "Found", "Glob", "Launch", "Name",
    "Opaque", "Process", "Ready", "Secretive", "StageContext", "Table", "WorkspacePath", "about",
]  # fmt: skip

Binding = Literal["call", "oneway", "handle", "around", "local"]
"""How the Lua child treats a function: `rivet.sandbox.lua.CallKind`."""


class Artifacts(Protocol):
    """Files kept under a name of the run. All raise CallError."""

    def upload(self, name: str, globs: Sequence[str]) -> Contents: ...

    def download(self, name: str, path: str | None, run: str | None) -> Contents: ...


class Caches(Protocol):
    """Files kept under a key of the pipeline. All raise CallError."""

    def restore(self, key: str, fallback: Sequence[str], paths: Sequence[str]) -> str | None:
        """The key that was found."""

    def save(self, key: str, paths: Sequence[str]) -> bool:
        """Whether something was saved."""


class Reports(Protocol):
    def tests(self, cases: Sequence[Case]) -> None: ...

    def coverage(self, coverage: Coverage) -> None: ...


class StageContext(Protocol):
    """What a module's function may use of the stage it is called in: its only way to act."""

    env: Mapping[str, str]
    """Variables and parameters as `env` sees them: pipeline, stage, inputs as text."""

    inputs: Mapping[str, Any]
    """The run's parameters, typed as declared."""

    outputs: dict[str, Any]
    """Values set by this and earlier stages; `set_output` writes."""

    output_lists: Mapping[str, Sequence[Any]]
    """By name, what copies of a matrix set before this job, in the order of the copies."""

    facts: Mapping[str, Any]
    """The recorded values of `run`: id, number, pipeline, project, trigger, actor."""

    @property
    def artifacts(self) -> Artifacts: ...
    @property
    def caches(self) -> Caches: ...
    @property
    def reports(self) -> Reports: ...
    @property
    def web(self) -> Web: ...

    def say(self, level: str, text: str) -> None:
        """One entry of the log, `debug`, `info`, `warn` or `error`; may have several lines."""

    def begin_group(self, name: str) -> int:
        """Begin a group of the log; its number."""

    def end_group(self, number: int) -> None: ...

    @property
    def background(self) -> Background: ...

    def files(self, title: str) -> Files:
        """The workspace's files; errors begin with `title`, the call's."""

    def pause(self, seconds: float) -> None:
        """Wait, at most until the stage is stopped."""

    def annotate(self, annotation: Annotation) -> None:
        """Say it in the log, and keep it with the run."""

    def set_output(self, name: str, value: Any) -> None: ...

    def set_summary(self, markdown: str) -> None: ...

    def secret(self, name: str) -> Opaque:
        """The secret of that name, without its value. Raises CallError if the pipeline may not use it."""

    def run_process(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str | Opaque],
        cwd: str,
        stdin: bytes | Opaque | None,
        timeout_s: float | None,
        capture: bool,
        quiet: bool = False,
    ) -> Process:
        """Run a command in the stage's room until it ends. Its output goes to the log unless `quiet`.

        Raises CallError where it cannot be started, runs out of time, or was cancelled.
        """

    def fetch_git(
        self,
        url: str,
        ref: str | None,
        commit: str | None,
        depth: int,
        path: str,
        *,
        submodules: bool,
        token: str | Opaque | None,
    ) -> str:
        """Bring a repository into `path`, in a room of its own for the network half; the commit's hash."""

    def run_git(self, title: str, path: str, arguments: Sequence[str]) -> bytes:
        """What git says in a clone of the workspace. Raises CallError that begins with `title`."""


class Call:
    """The base of every declaration: subclasses are modules' functions."""

    of_module: ClassVar[str]
    function: ClassVar[str]
    """Its name in the module; of a handle's method `start:wait`."""
    of_handle: ClassVar[str | None]
    short_form: ClassVar[tuple[str, ...]]
    is_positional: ClassVar[bool]
    """A table is never the fields by name: it is what the short form's first one means."""
    binding: ClassVar[Binding]
    declared: ClassVar[Mapping[str, Field]]
    hints: ClassVar[Mapping[str, Any]]
    example: ClassVar[str] = ""
    handle: int = 0

    def __init_subclass__(
        cls,
        *,
        module: str,
        name: str | None = None,
        short: tuple[str, ...] = (),
        of: str | None = None,
        oneway: bool = False,
        handle: bool = False,
        around: bool = False,
        local: bool = False,
        positional: bool = False,
    ) -> None:
        kinds: Mapping[Binding, bool] = {
            "oneway": oneway, "handle": handle, "around": around, "local": local
        }  # fmt: skip
        cls.of_module = module
        cls.function = f"{of}:" * (of is not None) + (name or _snake(cls.__name__))
        cls.of_handle = of
        cls.short_form = short
        cls.is_positional = positional
        cls.binding = next((kind for kind, chosen in kinds.items() if chosen), "call")
        cls.declared, cls.hints = declared_fields(cls)
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
        """`module.function`, or `h:method`."""
        if cls.of_handle is None:
            return f"{cls.of_module}.{cls.function}"
        if cls.function.endswith(":end"):
            return f"{cls.of_module}.{cls.of_handle}"
        return f"h:{cls.function.rpartition(':')[2]}"

    @classmethod
    def bind(cls, args: Sequence[Any]) -> "Call":
        """The call that `args` (as Lua gave them) ask for. Raises CallError naming the field."""
        if cls.of_handle is None:
            named = _named(cls, args)
            if cls.binding == "around" and named.get("fn") is not None:
                raise CallError(f"{cls.title()}: fn: expected a function, given {shown(named['fn'])}")
            return cls(**check_fields(cls.title(), cls.declared, cls.hints, named))
        number, *rest = args or [None]
        if not isinstance(number, int) or isinstance(number, bool):
            raise CallError(f"{cls.title()}: takes a handle first, given {shown(number)}")
        return cls(handle=number, **check_fields(cls.title(), cls.declared, cls.hints, _named(cls, rest)))


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
    return bool(first) and not cls.is_positional and not _takes_table(cls.hints[cls.short_form[0]])


def _takes_table(hint: Any) -> bool:
    if hint is Any:
        return False
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(_takes_table(part) for part in typing.get_args(hint))
    return typing.get_origin(hint) in (list, dict) or hint in (list, dict)
