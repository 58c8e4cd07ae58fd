"""`log`: what a script says goes into the run's log."""

from collections.abc import Mapping
from typing import Any

from rivet.domain.annotation import Annotation
from rivet.domain.wording import shown
from rivet.modules.contract import Call, Opaque, Secretive, StageContext, WorkspacePath, about

_MESSAGE = "what to say; may have several lines"
_FIELDS = "values to say along, as a table"


class Debug(Call, module="log", short=("message", "fields"), oneway=True):
    """Say something that helps to look for a fault."""

    message: Secretive = about(_MESSAGE)
    fields: dict[str, Secretive] | None = about(_FIELDS, default=None)
    example = 'log.debug("resolved", { count = 3 })'

    def act(self, stage: StageContext) -> None:
        stage.say("debug", entry(self.message, self.fields))


class Info(Call, module="log", short=("message", "fields"), oneway=True):
    """Say something."""

    message: Secretive = about(_MESSAGE)
    fields: dict[str, Secretive] | None = about(_FIELDS, default=None)
    example = 'log.info("Running tests...")'

    def act(self, stage: StageContext) -> None:
        stage.say("info", entry(self.message, self.fields))


class Warn(Call, module="log", short=("message", "fields"), oneway=True):
    """Say that something is not as it should be."""

    message: Secretive = about(_MESSAGE)
    fields: dict[str, Secretive] | None = about(_FIELDS, default=None)
    example = 'log.warn("no tests found")'

    def act(self, stage: StageContext) -> None:
        stage.say("warn", entry(self.message, self.fields))


class Error(Call, module="log", short=("message", "fields"), oneway=True):
    """Say that something is wrong. It does not end the stage: `error(...)` does."""

    message: Secretive = about(_MESSAGE)
    fields: dict[str, Secretive] | None = about(_FIELDS, default=None)
    example = 'log.error("upload refused", { status = 403 })'

    def act(self, stage: StageContext) -> None:
        stage.say("error", entry(self.message, self.fields))


class Group(Call, module="log", short=("name", "fn"), around=True):
    """Call a function, and hold together what is said meanwhile: a page can fold it.

    What the function returns is returned, and its errors pass through. Groups may be within groups, 16 deep.
    """

    name: str = about("what is being done", minimum=1, maximum=200, pattern=r"[^\r\n]*")
    fn: Any = about("the function", default=None)
    example = 'log.group("install", function() process.run({ command = "make" }) end)'

    def act(self, stage: StageContext) -> int:
        return stage.begin_group(self.name)


class GroupEnd(Call, module="log", name="end", of="group"):
    """What `log.group` does last."""

    example = Group.example

    def act(self, stage: StageContext) -> None:
        stage.end_group(self.handle)


class Annotate(Call, module="log"):
    """Say something about a line of a file, as a compiler or a linter does. It stands in the log too.

    Of each attempt 100 are kept with the run, and the first 100 are shown with it.
    """

    level: str = about("info, warn or error", default="warn", pattern="info|warn|error")
    message: str | Opaque = about("what to say of it", minimum=1, maximum=4096)
    file: WorkspacePath | None = about("the file it is about", default=None)
    line: int | None = about("the line, from 1", default=None, minimum=1, maximum=2**31 - 1)
    example = 'log.annotate({ level = "warn", message = "unused name", file = "app.py", line = 12 })'

    def act(self, stage: StageContext) -> None:
        stage.annotate(Annotation(self.level, str(self.message), self.file, self.line))


def entry(message: object, fields: Mapping[str, object] | None) -> str:
    """One entry as text: the message, then `name=value` for each field in order of names."""
    text = str(message) if isinstance(message, str | Opaque) else shown(message)
    return " ".join([text, *(f"{name}={_plain(value)}" for name, value in sorted((fields or {}).items()))])


def _plain(value: object) -> str:
    if isinstance(value, Opaque):
        return str(value)
    return value if isinstance(value, str) and value.isprintable() and " " not in value else shown(value)
