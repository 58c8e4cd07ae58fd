"""Go through a stage's script in a Lua child, with modules that note each call and do nothing."""

from typing import Any

from rivet.engine.plan_ports import NotedCall, Rehearsed, ToRehearse
from rivet.modules import registry
from rivet.modules.contract import CallError
from rivet.modules.rehearsal import Rehearsal
from rivet.modules.run import STAGE_VALUES, VALUES
from rivet.runner.readable import Readable
from rivet.sandbox.lua import FILE, LuaError, LuaLimits, Refused, Script, Zygote, open_script

LIMITS = LuaLimits(cpu_s=1.0, wall_s=3.0)


def rehearse(zygote: Zygote, asked: ToRehearse) -> Rehearsed:
    """What the stage would do, as far as that can be known without doing it. Raises NoChild."""
    facts = {**asked.facts, "attempt": 1}
    script = open_script(
        zygote, asked.source, FILE, LIMITS, modules=registry.bindings(),
        values={"run": {name: facts.get(name) for name in VALUES}, "input": asked.inputs, "matrix": {}},
        running_values={
            "run": {name: facts[name] for name in STAGE_VALUES if facts.get(name) is not None},
            "matrix": asked.row,
        },
        resolve=True,
    )  # fmt: skip
    if isinstance(script, LuaError):
        return Rehearsed(unknown=script.told())
    with script:
        return _rehearsed(script, asked)


def _rehearsed(script: Script, asked: ToRehearse) -> Rehearsed:
    when = _when(script, asked) if asked.has_when else None
    if isinstance(when, str):
        return Rehearsed(unknown=when)
    if not asked.has_script or when is False:
        return Rehearsed(when=when)
    rehearsal = Rehearsal(asked.env, asked.inputs, dict(asked.outputs), asked.facts)

    def call(module: str, function: str, args: list[Any]) -> Any:
        try:
            return rehearsal.call(module, function, args)
        except CallError as error:
            raise Refused(str(error)) from None

    ended = script.run(asked.path, call)
    return Rehearsed(
        calls=tuple(NotedCall(noted.call, noted.assumed) for noted in rehearsal.noted),
        left_out=rehearsal.left_out,
        secrets=tuple(rehearsal.secrets),
        outputs=rehearsal.outputs,
        when=when,
        unknown=None if ended is None else _why(ended, rehearsal),
    )


def _when(script: Script, asked: ToRehearse) -> bool | str | None:
    """What the condition says of what is known now; a text where it cannot be asked."""
    readable = Readable(asked.env, asked.inputs, asked.outputs, asked.facts, {})
    given = script.ask((*asked.path, "when"), readable.call)
    if isinstance(given, LuaError):
        return f"not known whether it runs: {given.told()}"
    reads_outputs = any(name.startswith("output.") for name in readable.values)
    return None if reads_outputs else bool(given.value)


def _why(ended: LuaError, rehearsal: Rehearsal) -> str:
    assumed = any(noted.assumed for noted in rehearsal.noted)
    about = "not known from here on, since what calls give is assumed" if assumed else "it would fail"
    return f"{about}: {ended.told()}"
