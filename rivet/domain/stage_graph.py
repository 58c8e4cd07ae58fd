"""Which stages wait for which: a stage waits for all above it, or for those that it `needs`."""

from collections.abc import Mapping, Sequence

from rivet.domain.ids import StageKey
from rivet.domain.pipeline import Finding, StageDefinition
from rivet.domain.stage_rules import unknown_need
from rivet.domain.wording import shown


def check_graph(stages: Sequence[StageDefinition], findings: list[Finding]) -> None:
    """Add a finding for every need that names no stage, and for the first cycle."""
    known = [stage.key for stage in stages]
    for stage in stages:
        for need in stage.needs or ():
            if need not in known:
                findings.append(unknown_need(stage, need, [str(key) for key in known]))
    if findings:
        return
    circle = _circle(waits(stages))
    if circle:
        by_key = {stage.key: stage for stage in stages}
        first = next(by_key[key] for key in circle if by_key[key].needs is not None)
        told = " -> ".join(shown(by_key[key].name) for key in (*circle, circle[0]))
        message = f"stage {shown(first.name)}: needs: stages wait for each other in a circle: {told}"
        findings.append(Finding((*first.path, "needs"), "cycle", message))


def waits(stages: Sequence[StageDefinition]) -> Mapping[StageKey, tuple[StageKey, ...]]:
    """The keys that each stage waits for; one without `needs` waits for all that stand above it."""
    return {
        stage.key: stage.needs if stage.needs is not None else tuple(above.key for above in stages[:place])
        for place, stage in enumerate(stages)
    }


def _circle(graph: Mapping[StageKey, Sequence[StageKey]]) -> list[StageKey]:
    """One circle, in the order of waiting; empty if there is none."""
    done: set[StageKey] = set()
    for start in graph:
        trail: list[StageKey] = []
        stack = [(start, iter(graph[start]))] if start not in done else []
        if stack:
            trail.append(start)
        while stack:
            key, rest = stack[-1]
            following = next((each for each in rest if each not in done), None)
            if following is None:
                done.add(key)
                stack.pop()
                trail.pop()
            elif following in trail:
                return trail[trail.index(following) :]
            else:
                trail.append(following)
                stack.append((following, iter(graph[following])))
    return []
