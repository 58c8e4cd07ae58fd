"""Pipelines that are more than a chain: groups, graphs, retries, approvals, other queues, `finally`, turns."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from .shapes import ALWAYS, Shape, StageShape, stage_shape

PORT = "PORT"
"""Stands for the listener's port in what is made here."""
OTHER_QUEUE = "gpu"


def flows(chance: random.Random) -> list[Shape]:
    """Two to four of them; in every other round two or three take turns."""
    made = [_flow(f"flow-{number}", chance) for number in range(chance.randint(2, 4))]
    if chance.random() < 0.5:
        cancels = chance.random() < 0.25
        made = [
            replace(shape, turn="chaos", cancels_running=cancels) if place < 3 else shape
            for place, shape in enumerate(made)
        ]
    return made


def _flow(slug: str, chance: random.Random) -> Shape:
    fate = chance.choices(("ends", "cancelled", "timed out", "fails"), (0.6, 0.15, 0.1, 0.15))[0]
    flow = _Flow(chance)
    if chance.random() < 0.2:
        flow.graph()
    else:
        flow.single()
        kinds = (flow.single, flow.parallel, flow.matrix, flow.dynamic, flow.approval, flow.travel)
        # One of each at most, but of the plain one, so that keys are unique.
        for block in chance.sample(kinds, chance.randint(1, 3)):
            block()
        flow.single()
    flow.doom(fate)
    if chance.random() < 0.5:
        flow.end()
    return Shape(
        slug, chance.choice(("error", "restart")), tuple(flow.stages),
        chance.uniform(0.0, 4.0) if fate == "cancelled" else None,
        listed=", ".join(block() for block in flow.blocks), last=", ".join(last() for last in flow.lasts),
    )  # fmt: skip


@dataclass
class _Flow:
    """Blocks one after the other. `_left` are the stages whose files are in the workspace by now."""

    chance: random.Random
    stages: list[StageShape] = field(default_factory=list)
    blocks: list[Callable[[], str]] = field(default_factory=list)
    lasts: list[Callable[[], str]] = field(default_factory=list)
    _left: list[str] = field(default_factory=list)
    _singles: int = 0

    def single(self, *, queue: str | None = None, needs: tuple[str, ...] | None = None, keep: str = "") -> str:
        self._singles += 1
        key = "abcdefg"[self._singles - 1]
        way = self.chance.choices(("plain", "retried", "warns", "skips"), (0.6, 0.2, 0.1, 0.1))[0]
        way = "plain" if needs is not None or not self.stages else way
        finds = tuple(self._left) if needs is None else needs
        stage = self._stage(key, way, finds, waits=needs, queue=queue)
        self._add(stage, f"{keep}{'' if needs is None else f'needs = {_listed(needs)}, '}")
        return key

    def travel(self) -> None:
        self.single(queue=OTHER_QUEUE)

    def graph(self) -> None:
        """Two that need nothing, one that needs both, and a plain one behind all."""
        keep = 'keep = { "did/*" }, '
        a, b = self.single(needs=(), keep=keep), self.single(needs=(), keep=keep)
        self.single(needs=(a, b), queue=self.chance.choice((None, OTHER_QUEUE)))
        self._left = [a, b]
        self.single()

    def parallel(self) -> None:
        members = [
            self._stage(key, self.chance.choices(("plain", "retried"), (0.7, 0.3))[0], tuple(self._left), group="p")
            for key in ("left", "right", "mid")[: self.chance.randint(2, 3)]
        ]
        fast = self.chance.random() < 0.4
        places = self._add_all([replace(member, fail_fast=fast) for member in members])

        def lua() -> str:
            inner = ", ".join(
                self._lua(self.stages[place], 'keep = { "did/*" }, ', self._asks(places[0])) for place in places
            )
            return f'{{ name = "p", fail_fast = {str(fast).lower()}, parallel = {{ {inner} }} }}'

        self.blocks.append(lua)

    def matrix(self) -> None:
        self._copies("m", "matrix = { n = { NUMBERS } }, ")

    def dynamic(self) -> None:
        rows = "for i = 1, output.require('rows_COUNT') do rows[i] = { n = i } end"
        self._copies("dyn", f"matrix = function() local rows = {{}} {rows} return rows end, ")

    def approval(self) -> None:
        answer = self.chance.choices(("approve", "reject", "expire"), (0.7, 0.15, 0.15))[0]
        has_script = self.chance.random() < 0.4
        stage = self._stage("ask", "plain", tuple(self._left))
        stage = replace(stage, answer=answer, has_script=has_script)
        if not has_script:
            stage = replace(stage, in_process=False, lines=0, leaves=False)
        self._add(stage, "")

    def doom(self, fate: str) -> None:
        """One stage never ends, or fails."""
        could = [n for n, one in enumerate(self.stages) if one.has_script and not one.skips and not one.warns]
        if fate == "fails":
            place = self.chance.choice(could)
            self.stages[place] = replace(self.stages[place], fails=ALWAYS)
        elif fate == "timed out":
            place = self.chance.choice([n for n in could if self.stages[n].group not in ("m", "dyn")])
            stubborn = self.stages[place].in_process and self.chance.random() < 0.15
            self.stages[place] = replace(
                self.stages[place], timeout_s=self.chance.choice((0.5, 1.5)), stubborn=stubborn, fails=0, tries=1
            )

    def end(self) -> None:
        """Two stages of `finally`, whose summary says which end the run is heading for."""
        for key, before in (("y", ()), ("z", ("y",))):
            stage = replace(self._stage(key, "plain", (), waits=before), is_last=True)
            place = self._add_all([stage])[0]
            self.lasts.append(partial(self._lua, self.stages[place], "", "run.summary(run.status) "))

    def _copies(self, key: str, matrix: str) -> None:
        count, fast = self.chance.randint(2, 5), self.chance.random() < 0.3
        most = self.chance.choice((None, None, 2))
        one = self._stage(key, "plain", tuple(self._left), group=key)
        copies = [replace(one, key=f"{key}.{n}", fail_fast=fast, max_parallel=most) for n in range(1, count + 1)]
        if self.chance.random() < 0.4:
            copies = [replace(copy, tries=3) for copy in copies]
            copies[-1] = replace(copies[-1], fails=self.chance.randint(1, 2))
        places = self._add_all(copies)
        told = matrix.replace("NUMBERS", ", ".join(map(str, range(1, count + 1)))).replace("COUNT", str(count))
        more = "" if most is None else f"max_parallel = {most}, "

        def lua() -> str:
            fails = ", ".join(str(self.stages[place].fails) for place in places)
            first = self.stages[places[0]]
            body = first.script(
                PORT, key=f'"{key}." .. matrix.n', fails=f"({{ {fails} }})[matrix.n]",
                asks=self._asks(places[0]), sets=f"of_{key}",
            )  # fmt: skip
            return (
                f'{{ name = "{key}", {told}{more}fail_fast = {str(fast).lower()}, keep = {{ "did/*" }}, '
                f"{first.fields()}script = function() {body} end }}"
            )

        self.blocks.append(lua)

    def _stage(
        self, key: str, way: str, finds: tuple[str, ...], *, waits: tuple[str, ...] | None = None,
        queue: str | None = None, group: str | None = None,
    ) -> StageShape:  # fmt: skip
        above = tuple(stage.key for stage in self.stages)
        made = stage_shape(key, None, self.chance)
        made = replace(
            made, lines=min(made.lines, 30), effect_at=min(made.effect_at, 30), leaves=True, finds=finds,
            waits=above if waits is None else waits, queue=queue, group=group,
        )  # fmt: skip
        if way == "retried":
            made = replace(
                made, tries=3, fails=self.chance.randint(0, 2), tried_when_lost=self.chance.random() < 0.5
            )
        elif way == "warns":
            made = replace(made, fails=ALWAYS, warns=True)
        elif way == "skips":
            made = replace(made, skips=True)
        return made

    def _add(self, stage: StageShape, fields: str) -> None:
        place = self._add_all([stage])[0]
        self.blocks.append(lambda: self._lua(self.stages[place], fields, self._asks(place)))

    def _add_all(self, stages: list[StageShape]) -> list[int]:
        places = list(range(len(self.stages), len(self.stages) + len(stages)))
        self.stages += stages
        self._left += [one.key for one in stages if one.leaves and not one.warns and not one.skips]
        return places

    def _lua(self, stage: StageShape, fields: str, asks: str) -> str:
        body = ""
        if stage.has_script:
            body = f"script = function() {stage.script(PORT, asks=asks, sets=f'of_{stage.key}')} end "
        return f'{{ name = "{stage.key}", {fields}{stage.fields()}{body}}}'

    def _asks(self, place: int) -> str:
        """What every stage that ends well before this one has set, and how many rows a matrix behind it has."""
        told = "".join(f'output.set("rows_{n}", {n}) ' for n in range(2, 6)) if place == 0 else ""
        stage = self.stages[place]
        counts: dict[str, int] = {}
        for one in self.stages[:place]:
            if one.key not in stage.waits or not one.has_script or one.warns or one.skips:
                continue
            if one.group in ("m", "dyn"):
                counts[one.group] = counts.get(one.group, 0) + 1
            else:
                told += f'if output.require("of_{one.key}") ~= "{one.key}" then error("an output is lost") end '
        for key, count in counts.items():
            told += f'if #output.list("of_{key}") ~= {count} then error("an output of a copy is lost") end '
        return told


def _listed(keys: tuple[str, ...]) -> str:
    return "{ " + ", ".join(f'"{key}"' for key in keys) + " }"
