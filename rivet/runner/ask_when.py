"""Ask a stage's `when` whether the stage is to run."""

import contextlib
from collections.abc import Mapping
from typing import Any

from rivet.domain.order import Order, OrderedStage
from rivet.domain.wording import shown
from rivet.runner.desk import Desk
from rivet.runner.open_stage import OtherDefinition, open_stage
from rivet.runner.readable import Readable
from rivet.runner.stage_context import variables
from rivet.sandbox.lua import LuaError

SECONDS = 30.0


class CannotAsk(Exception):
    """The condition could not be evaluated: the stage fails with this message, at this line if known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


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
