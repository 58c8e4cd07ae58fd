"""Evaluate a stage's file in a Lua child, and see that it defines what the run was started with."""

from collections.abc import Mapping
from typing import Any

from rivet.domain.ids import Path
from rivet.domain.order import Order, OrderedStage
from rivet.domain.pipeline import digest_of
from rivet.modules.run import STAGE_VALUES, as_defined
from rivet.runner.desk import Desk
from rivet.sandbox.lua import FILE, LuaError, LuaLimits, Script, open_script


class OtherDefinition(Exception):
    """The file defines something else than when the run was started."""

    def __init__(self) -> None:
        super().__init__(
            "the file gave another definition than when the run was started: "
            "what it returns must depend on inputs alone"
        )


def make_child_ahead(order: Order, desk: Desk) -> None:
    """A stage of the job will be opened soon: its Lua child is made beside what is done until then."""
    desk.zygote.fork_ahead(_limits(order, desk, 0.0))


def open_stage(
    order: Order, stage: OrderedStage, attempt: int, desk: Desk, *, seconds: float
) -> Script | LuaError:
    """The evaluated file, which lives for `seconds` at most; closed by the caller.

    Raises OtherDefinition and NoChild.
    """
    facts: Mapping[str, Any] = {**order.facts, "attempt": attempt}
    script = open_script(
        desk.zygote,
        order.lua,
        FILE,
        _limits(order, desk, seconds),
        modules=desk.modules.bindings(),
        values={"run": as_defined(facts), "input": order.inputs, "matrix": {}},
        running_values={
            "run": {name: facts[name] for name in ("id", *STAGE_VALUES) if facts.get(name) is not None},
            "matrix": stage.row or {},
        },
        resolve=True,
    )
    if isinstance(script, Script) and digest_of(script.table) != order.digest:
        script.close()
        raise OtherDefinition
    return script


def _limits(order: Order, desk: Desk, seconds: float) -> LuaLimits:
    """The operator's, and what the pipeline asks for where that is less."""
    limits = desk.limits.lowered(order.limits)
    return LuaLimits(
        memory_bytes=limits.memory, cpu_s=limits.cpu, wall_s=seconds, frame_bytes=limits.frame
    )


def value_at(table: Any, path: Path) -> Any:
    """The value at a path of an evaluated table, whose lists count from 1."""
    for step in path:
        table = table[step - 1] if isinstance(table, list) and isinstance(step, int) else table[step]
    return table
