"""Say what a run would do: its jobs and stages, what they wait for, and the calls that scripts would make."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rivet.domain.errors import InvalidPipeline
from rivet.domain.ids import RunId
from rivet.domain.inputs import as_texts, check_inputs
from rivet.domain.pipeline import Definition
from rivet.domain.stage import Stage
from rivet.engine.plan_pipeline import Planned, plan_pipeline
from rivet.engine.plan_ports import Rehearsed, Rehearser, ToRehearse
from rivet.engine.ports import Ids, Store
from rivet.engine.save_pipeline import evaluate
from rivet.engine.start_run import StartRequest, facts_of, resolved, stored_version

MOST_STAGES = 100
MOST_SECONDS = 12.0
"""Whoever asks for a plan waits for it; stages that are left say that they were not looked at."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """`missing` are required inputs that were not given; `unknown` is what the plan cannot say, and why."""

    definition: Definition
    inputs: Mapping[str, Any]
    missing: tuple[str, ...]
    planned: Planned
    rehearsed: Mapping[str, Rehearsed]
    unknown: tuple[str, ...]


def rehearse_run(request: StartRequest, *, store: Store, evaluator: Rehearser, ids: Ids) -> RunPlan:
    """Nothing is stored and nothing runs. `request.slug` is read only where there is no source.

    Raises NotFound, InvalidPipeline, InvalidInput, Unavailable.
    """
    source = request.source if request.source is not None else stored_version(request, store).lua
    checked, definition = evaluate(source, evaluator)
    optional = tuple(replace(each, required=False) for each in definition.inputs)
    inputs = check_inputs(replace(definition, inputs=optional), request.inputs)
    missing = tuple(each.name for each in definition.inputs if each.required and each.name not in inputs)
    unknown = [f'input "{name}" is required and was not given' for name in missing]
    run_id = RunId(ids.uuid())
    facts = facts_of(replace(request, slug=definition.slug), run_id)
    try:
        _, definition = resolved(source, checked, definition, inputs, facts, evaluator)
    except InvalidPipeline as invalid:
        if not missing:
            raise
        unknown.append(f"the stages, without these inputs: {invalid.message}")
    planned = plan_pipeline(definition, run_id, ids) if definition.stages else Planned((), ())
    rehearsed = _Rehearsing(source, definition, inputs, {**facts, "number": 0}, evaluator).all(planned)
    unknown += [
        f'the rows of the matrix "{stage.name}": a function gives them when it is reached'
        for stage in planned.stages
        if stage.spec.is_open
    ]
    return RunPlan(definition, inputs, missing, planned, rehearsed, tuple(unknown))


@dataclass
class _Rehearsing:
    source: str
    definition: Definition
    inputs: Mapping[str, Any]
    facts: Mapping[str, Any]
    rehearser: Rehearser

    def all(self, planned: Planned) -> dict[str, Rehearsed]:
        """Each stage in its order, with what those before it set."""
        outputs: dict[str, Any] = {}
        found: dict[str, Rehearsed] = {}
        until = time.monotonic() + MOST_SECONDS
        for stage in planned.stages:
            if len(found) >= MOST_STAGES or time.monotonic() > until:
                found[stage.key] = Rehearsed(unknown="not looked at: the plan is long enough without it")
                continue
            found[stage.key] = one = self.rehearser.rehearse(self._asked(stage, outputs))
            if one.when is not False:
                outputs |= one.outputs
        return found

    def _asked(self, stage: Stage, outputs: Mapping[str, Any]) -> ToRehearse:
        return ToRehearse(
            source=self.source,
            path=stage.spec.path,
            has_script=stage.spec.has_script,
            has_when=stage.spec.has_when,
            inputs=self.inputs,
            facts=self.facts,
            env={**as_texts(self.inputs), **self.definition.env, **stage.env},
            outputs=outputs,
            row=stage.spec.row or {},
        )
