"""`input`: the run's parameters, with their declared types."""

from typing import Any

from rivet.modules.contract import Call, StageContext, about
from rivet.modules.env import required


class Get(Call, module="input", short=("name", "default")):
    """A parameter's value, or the default."""

    name: str = about("the parameter's name")
    default: Any = about("what to give where it has no value", default=None)
    example = 'local count = input.get("count", 1)'

    def act(self, stage: StageContext) -> Any:
        return stage.inputs.get(self.name, self.default)


class Require(Call, module="input", short=("name",)):
    """A parameter's value; an error where it has none."""

    name: str = about("the parameter's name")
    example = 'local count = input.require("count")'

    def act(self, stage: StageContext) -> Any:
        return required("input", "parameter", self.name, stage.inputs)


class Has(Call, module="input", short=("name",)):
    """Whether a parameter has a value."""

    name: str = about("the parameter's name")
    example = 'if input.has("count") then log.info("given") end'

    def act(self, stage: StageContext) -> bool:
        return self.name in stage.inputs


class All(Call, module="input"):
    """All parameters that have a value, as a table."""

    example = "local given = input.all()"

    def act(self, stage: StageContext) -> dict[str, Any]:
        return dict(stage.inputs)
