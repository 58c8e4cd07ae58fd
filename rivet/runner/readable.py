"""What a function of the definition may read: variables, inputs, outputs of earlier stages, the run."""

from collections.abc import Mapping, Sequence
from typing import Any

from rivet.domain.wording import shown
from rivet.modules import registry
from rivet.modules.contract import CallError
from rivet.sandbox.lua import Refused

READABLE = {
    "env": ("get", "require", "has", "all"),
    "input": ("get", "require", "has", "all"),
    "output": ("get", "require", "has", "all", "list"),
}
MOST_SHOWN = 50
MAY_READ = "a function of the definition may read env, input, output and run alone"


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
