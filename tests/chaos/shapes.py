"""The pipelines of a round: their source, and the lines that each of their attempts is to say."""

import random
from dataclasses import dataclass

_COUNT = """
stage=$0 attempt=$1 lines=$2 pause=$3 at=$4 after=$5
[[ $after == stubborn ]] && trap '' TERM
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
while [[ $after != ends ]]; do sleep 0.2; done
"""


@dataclass(frozen=True, slots=True)
class StageShape:
    """A stage that counts aloud.

    Its script logs the lines, or has a process of the room do it, `pause_s` apart; a process has its one
    effect before line `effect_at`. With a `timeout_s` it never ends by itself, and a stubborn process does not
    listen to SIGTERM.
    """

    key: str
    in_process: bool
    lines: int
    pause_s: float
    effect_at: int
    before: str | None
    timeout_s: float | None = None
    stubborn: bool = False

    def expected(self, attempt: int) -> list[str]:
        return [f"{self.key}-{attempt}-{number}" for number in range(1, self.lines + 1)]

    @property
    def has_effect(self) -> bool:
        return self.in_process

    def lua(self, port: int) -> str:
        if self.in_process:
            count = _COUNT.replace("PORT", str(port))
            after = "ends" if self.timeout_s is None else "stubborn" if self.stubborn else "listens"
            numbers = f'"{self.lines}", "{self.pause_s:.3f}", "{self.effect_at}", "{after}"'
            work = (
                f'process.run{{command="bash", args={{"-c", [==[{count}]==], "{self.key}", '
                f"tostring(run.attempt), {numbers}}}}}"
            )
        else:
            work = (
                f'for i = 1, {self.lines} do log.info("{self.key}-" .. run.attempt .. "-" .. i) '
                f"local t = 0 for j = 1, {int(self.pause_s * 5_000_000)} do t = t + j end end"
            )
            if self.timeout_s is not None:
                work += " while true do end"
        check = f'if output.require("last") ~= "{self.before}" then error("an output is lost") end '
        timeout = "" if self.timeout_s is None else f"timeout = {self.timeout_s:g}, "
        return (
            f'{{ name = "{self.key}", {timeout}script = function() {check if self.before else ""}{work} '
            f'output.set("last", "{self.key}") end }}'
        )

    def told(self) -> str:
        how = "process" if self.in_process else "script"
        over = "" if self.timeout_s is None else f" until {self.timeout_s:g} s{' stubborn' * self.stubborn}"
        return f"{self.key}:{how}x{self.lines}{over}"


@dataclass(frozen=True, slots=True)
class Shape:
    """One pipeline of a round. `slug` is its name too; it is cancelled so long after it was submitted."""

    slug: str
    on_lost: str
    stages: tuple[StageShape, ...]
    cancel_after_s: float | None = None

    def lua(self, port: int) -> str:
        stages = ", ".join(stage.lua(port) for stage in self.stages)
        grant = f'permissions = {{ network = {{ "127.0.0.1:{port}" }} }}'
        return (
            f'pipeline = {{ name = "{self.slug}", on_lost = "{self.on_lost}", {grant}, stages = {{ {stages} }} }}'
        )

    def told(self) -> str:
        stages = " ".join(stage.told() for stage in self.stages)
        cancelled = "" if self.cancel_after_s is None else f"cancelled after {self.cancel_after_s:.2f} s "
        return f"{self.slug} on_lost={self.on_lost} {cancelled}{stages}"


def shapes(chance: random.Random) -> list[Shape]:
    """Four to seven pipelines of one to four stages."""
    return [_shape(f"chaos-{number}", chance) for number in range(chance.randint(4, 7))]


def _shape(slug: str, chance: random.Random) -> Shape:
    keys = "abcd"[: chance.randint(1, 4)]
    fate = chance.choices(("ends", "cancelled", "timed out"), (0.7, 0.18, 0.12))[0]
    endless = chance.choice(keys) if fate == "timed out" else None
    stages: list[StageShape] = []
    for key in keys:
        stages.append(stage_shape(key, stages[-1].key if stages else None, chance, endless=key == endless))
    cancel_after_s = chance.uniform(0.0, 2.5) if fate == "cancelled" else None
    return Shape(slug, chance.choice(("error", "restart")), tuple(stages), cancel_after_s)


def stage_shape(key: str, before: str | None, chance: random.Random, *, endless: bool = False) -> StageShape:
    """One that comes after the stage of the key `before`; an endless one has to be timed out."""
    in_process = chance.random() < 0.65
    lines = chance.choice((5, 30, 90) if in_process else (1, 30, 400))
    pause = chance.choice((0.0, 0.005, 0.02)) if in_process else chance.choice((0.0, 0.0005))
    effect_at = chance.choice((1, lines // 2 + 1, lines))
    timeout_s = chance.choice((0.5, 1.5)) if endless else None
    return StageShape(
        key, in_process, lines, pause, effect_at, before, timeout_s, endless and chance.random() < 0.2
    )
