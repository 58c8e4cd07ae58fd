"""Ask a stage's `when` whether the stage is to run."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from rivet.domain.order import Order, OrderedStage
from rivet.domain.wording import shown
from rivet.modules import registry
from rivet.modules.contract import CallError
from rivet.runner.desk import Desk
from rivet.runner.open_stage import OtherDefinition, open_stage
from rivet.runner.stage_context import variables
from rivet.sandbox.lua import LuaError, Refused

SECONDS = 30.0
READABLE = {
    "env": ("get", "require", "has", "all"),
    "input": ("get", "require", "has", "all"),
    "output": ("get", "require", "has", "all", "list"),
}
MOST_SHOWN = 50
MAY_READ = "a function of the definition may read env, input, output and run alone"


class CannotAsk(Exception):
    """The condition could not be evaluated: the stage fails with this message, at this line if known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class Readable:
    """All that a function of the definition sees; `values` are what it read, by how it asked."""

    def __init__(
        self,
        env: Mapping[str, str],
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any],
        facts: Mapping[str, Any],
        output_lists: Mapping[str, Sequence[Any]],
    ) -> None:
        self.env, self.inputs, self.facts = env, inputs, facts
        self.outputs = dict(outputs)
        self.output_lists = output_lists
        self.values: dict[str, Any] = {}

    def call(self, module: str, function: str, args: list[Any]) -> Any:
        if function not in READABLE.get(module, ()):
            raise Refused(f"{module}.{function}: {MAY_READ}")
        try:
            value = registry.call(module, function, args, self)  # type: ignore[arg-type]
        except CallError as error:
            raise Refused(str(error)) from None
        if len(self.values) < MOST_SHOWN:
            asked = f"{module}.{function}({', '.join(shown(arg) for arg in args)})"
            self.values[asked[:200]] = shown(value)[:200]
        return value


def ask_when(
    order: Order, stage: OrderedStage, desk: Desk, outputs: Mapping[str, Any]
) -> tuple[bool, Mapping[str, Any]]:
    """Whether it is to run, and what the condition read. Raises CannotAsk."""
    readable = Readable(variables(order, stage), order.inputs, outputs, order.facts, order.output_lists)
    try:
        script = open_stage(order, stage, stage.next_attempt, desk, seconds=SECONDS)
    except OtherDefinition as other:
        raise CannotAsk(str(other)) from None
    if isinstance(script, LuaError):
        raise CannotAsk(script.message, script.line)
    with contextlib.closing(script):
        given = script.ask((*stage.path, "when"), readable.call)
    if isinstance(given, LuaError):
        raise CannotAsk(f"when: {given.message}", given.line)
    if not isinstance(given.value, bool):
        raise CannotAsk(f"when: expected true or false, given {shown(given.value)}")
    return given.value, readable.values
