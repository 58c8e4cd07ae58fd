"""`output`: values that travel to later stages."""

import json
import math
from typing import Any

from rivet.modules.contract import Call, CallError, Name, StageContext, about
from rivet.modules.env import required
from rivet.sandbox.frames import KeepNulls

MAX_OUTPUT_BYTES = 64 * 1024


class Set(Call, module="output", short=("name", "value")):
    """Set a value that later stages can read. At most 64 KiB as JSON."""

    name: Name = about("the output's name")
    value: Any = about("text, number, boolean, or a table of these")
    example = 'output.set("version", "1.2.3")'

    def act(self, stage: StageContext) -> None:
        trouble = unfit(self.value)
        if trouble is not None:
            raise CallError(f"output.set: value: expected something JSON can hold, given {trouble}")
        size = len(json.dumps(self.value).encode())
        if size > MAX_OUTPUT_BYTES:
            raise CallError(f"output.set: value: expected at most {MAX_OUTPUT_BYTES} bytes, given {size}")
        stage.set_output(self.name, self.value)


class Get(Call, module="output", short=("name", "default")):
    """A value that this or an earlier stage set, or the default."""

    name: str = about("the output's name")
    default: Any = about("what to give where it was not set", default=None)
    example = 'local version = output.get("version")'

    def act(self, stage: StageContext) -> Any:
        return given_back(stage.outputs.get(self.name, self.default))


class Require(Call, module="output", short=("name",)):
    """A value that this or an earlier stage set; an error where none did."""

    name: str = about("the output's name")
    example = 'local version = output.require("version")'

    def act(self, stage: StageContext) -> Any:
        return given_back(required("output", "output", self.name, stage.outputs))


class Has(Call, module="output", short=("name",)):
    """Whether this or an earlier stage set a value."""

    name: str = about("the output's name")
    example = 'if output.has("version") then log.info("known") end'

    def act(self, stage: StageContext) -> bool:
        return self.name in stage.outputs


class All(Call, module="output"):
    """All values that were set, as a table."""

    example = "local values = output.all()"

    def act(self, stage: StageContext) -> Any:
        return given_back(dict(stage.outputs))


class List(Call, module="output", short=("name",)):
    """Every value of that name that copies of a matrix set, in the order of the copies."""

    name: str = about("the output's name")
    example = 'for _, seconds in ipairs(output.list("seconds")) do log.info(seconds) end'

    def act(self, stage: StageContext) -> Any:
        return given_back(list(stage.output_lists.get(self.name, ())))


def given_back(value: Any) -> Any:
    """The value as the script had it, `json.null` within it too. Nothing stays nothing."""
    return KeepNulls(value) if isinstance(value, list | dict) else value


def unfit(value: Any, *, nul: bool = False) -> str | None:
    """What of the value JSON (or without `nul` the database) cannot hold; None if all is well."""
    match value:
        case None | bool() | int():
            return None
        case float():
            return None if math.isfinite(value) else "a number that is not finite"
        case str():
            return "a text with a NUL character" if "\0" in value and not nul else None
        case list():
            return next((trouble for item in value if (trouble := unfit(item, nul=nul))), None)
        case dict():
            if not all(isinstance(key, str) for key in value):
                return "a table with keys that are no texts"
            items = [*value, *value.values()]
            return next((trouble for item in items if (trouble := unfit(item, nul=nul))), None)
        case bytes():
            return "a text that is not valid UTF-8"
    return f"a {type(value).__name__.lower()}"
