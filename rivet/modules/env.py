"""`env`: variables of pipeline and stage, and parameters under their own names."""

from typing import Any

from rivet.modules.contract import Call, CallError, StageContext, about


class Get(Call, module="env", short=("name", "default")):
    """The value of a variable or parameter, or the default."""

    name: str = about("the variable's name")
    default: str | None = about("what to give where it is not set", default=None)
    example = 'local target = env.get("TARGET", "staging")'

    def act(self, stage: StageContext) -> str | None:
        return stage.env.get(self.name, self.default)


class Require(Call, module="env", short=("name",)):
    """The value of a variable or parameter; an error where it is not set."""

    name: str = about("the variable's name")
    example = 'local target = env.require("TARGET")'

    def act(self, stage: StageContext) -> str:
        return str(required("env", "variable or parameter", self.name, stage.env))


class Has(Call, module="env", short=("name",)):
    """Whether a variable or parameter is set."""

    name: str = about("the variable's name")
    example = 'if env.has("TARGET") then log.info("set") end'

    def act(self, stage: StageContext) -> bool:
        return self.name in stage.env


class All(Call, module="env"):
    """All variables and parameters, as a table."""

    example = "for name, value in pairs(env.all()) do log.info(name) end"

    def act(self, stage: StageContext) -> dict[str, str]:
        return dict(stage.env)


def required(module: str, kind: str, name: str, values: Any) -> Any:
    """The value of that name. Raises CallError that lists what there is."""
    if name not in values:
        known = ", ".join(sorted(values)) or "none"
        raise CallError(f'{module}.require: name: there is no {kind} "{name}"; there are: {known}')
    return values[name]
