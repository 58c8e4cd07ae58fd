"""`log`: what a script says goes into the run's log."""

from typing import Any

from rivet.domain.wording import shown
from rivet.modules.contract import Call, StageContext, about

_MESSAGE = "what to say; may have several lines"
_FIELDS = "values to say along, as a table"


class Debug(Call, module="log", short=("message", "fields"), oneway=True):
    """Say something that helps to look for a fault."""

    message: Any = about(_MESSAGE)
    fields: dict[str, Any] | None = about(_FIELDS, default=None)
    example = 'log.debug("resolved", { count = 3 })'

    def act(self, stage: StageContext) -> None:
        stage.say("debug", entry(self.message, self.fields))


class Info(Call, module="log", short=("message", "fields"), oneway=True):
    """Say something."""

    message: Any = about(_MESSAGE)
    fields: dict[str, Any] | None = about(_FIELDS, default=None)
    example = 'log.info("Running tests...")'

    def act(self, stage: StageContext) -> None:
        stage.say("info", entry(self.message, self.fields))


class Warn(Call, module="log", short=("message", "fields"), oneway=True):
    """Say that something is not as it should be."""

    message: Any = about(_MESSAGE)
    fields: dict[str, Any] | None = about(_FIELDS, default=None)
    example = 'log.warn("no tests found")'

    def act(self, stage: StageContext) -> None:
        stage.say("warn", entry(self.message, self.fields))


class Error(Call, module="log", short=("message", "fields"), oneway=True):
    """Say that something is wrong. It does not end the stage: `error(...)` does."""

    message: Any = about(_MESSAGE)
    fields: dict[str, Any] | None = about(_FIELDS, default=None)
    example = 'log.error("upload refused", { status = 403 })'

    def act(self, stage: StageContext) -> None:
        stage.say("error", entry(self.message, self.fields))


def entry(message: Any, fields: dict[str, Any] | None) -> str:
    """One entry as text: the message, then `name=value` for each field in order of names."""
    text = message if isinstance(message, str) else shown(message)
    return " ".join([text, *(f"{name}={_plain(value)}" for name, value in sorted((fields or {}).items()))])


def _plain(value: Any) -> str:
    return value if isinstance(value, str) and value.isprintable() and " " not in value else shown(value)
