"""The pipelines of a round: their source, and the lines that each of their attempts is to say."""

import random
from dataclasses import dataclass

_COUNT = """
stage=$0 attempt=$1 lines=$2 pause=$3 at=$4
effect() {
  exec 3<>/dev/tcp/127.0.0.1/PORT &&
  printf 'GET /%s/%s/%s HTTP/1.0\\r\\n\\r\\n' "$RIVET_RUN_ID" "$stage" "$attempt" >&3 &&
  IFS= read -r -t 20 answer <&3 && [[ $answer == *" 204 "* ]] && exec 3<&-
}
for ((i = 1; i <= lines; i++)); do
  if ((i == at)); then effect || { echo "no effect: ${answer-}" >&2; exit 9; }; fi
  echo "$stage-$attempt-$i"
  sleep "$pause"
done
"""


@dataclass(frozen=True, slots=True)
class StageShape:
    """A stage that counts aloud.

    Its script logs the lines, or has a process of the room do it, `pause_s` apart; a process has its one
    effect before line `effect_at`.
    """

    key: str
    in_process: bool
    lines: int
    pause_s: float
    effect_at: int
    before: str | None

    def expected(self, attempt: int) -> list[str]:
        return [f"{self.key}-{attempt}-{number}" for number in range(1, self.lines + 1)]

    @property
    def has_effect(self) -> bool:
        return self.in_process

    def lua(self, port: int) -> str:
        if self.in_process:
            count = _COUNT.replace("PORT", str(port))
            numbers = f'"{self.lines}", "{self.pause_s:.3f}", "{self.effect_at}"'
            work = (
                f'process.run{{command="bash", args={{"-c", [==[{count}]==], "{self.key}", '
                f"tostring(run.attempt), {numbers}}}}}"
            )
        else:
            work = (
                f'for i = 1, {self.lines} do log.info("{self.key}-" .. run.attempt .. "-" .. i) '
                f"local t = 0 for j = 1, {int(self.pause_s * 5_000_000)} do t = t + j end end"
            )
        check = f'if output.require("last") ~= "{self.before}" then error("an output is lost") end '
        return (
            f'{{ name = "{self.key}", script = function() {check if self.before else ""}{work} '
            f'output.set("last", "{self.key}") end }}'
        )


@dataclass(frozen=True, slots=True)
class Shape:
    """One pipeline of a round. `slug` is its name too."""

    slug: str
    on_lost: str
    stages: tuple[StageShape, ...]

    def lua(self, port: int) -> str:
        stages = ", ".join(stage.lua(port) for stage in self.stages)
        grant = f'permissions = {{ network = {{ "127.0.0.1:{port}" }} }}'
        return (
            f'pipeline = {{ name = "{self.slug}", on_lost = "{self.on_lost}", {grant}, stages = {{ {stages} }} }}'
        )

    def told(self) -> str:
        stages = " ".join(
            f"{stage.key}:{'process' if stage.in_process else 'script'}x{stage.lines}" for stage in self.stages
        )
        return f"{self.slug} on_lost={self.on_lost} {stages}"


def shapes(chance: random.Random) -> list[Shape]:
    """Four to seven pipelines of one to four stages."""
    return [_shape(f"chaos-{number}", chance) for number in range(chance.randint(4, 7))]


def _shape(slug: str, chance: random.Random) -> Shape:
    stages: list[StageShape] = []
    for key in "abcd"[: chance.randint(1, 4)]:
        in_process = chance.random() < 0.65
        lines = chance.choice((5, 30, 90) if in_process else (1, 30, 400))
        pause = chance.choice((0.0, 0.005, 0.02)) if in_process else chance.choice((0.0, 0.0005))
        effect_at = chance.choice((1, lines // 2 + 1, lines))
        before = stages[-1].key if stages else None
        stages.append(StageShape(key, in_process, lines, pause, effect_at, before))
    return Shape(slug, chance.choice(("error", "restart")), tuple(stages))
