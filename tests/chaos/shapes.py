"""The stages of a round's pipelines: their source, and the lines that each of their attempts is to say."""

import random
from dataclasses import dataclass
from typing import Literal

_COUNT = """
stage=$0 attempt=$1 lines=$2 pause=$3 at=$4 after=$5 fails=$6; shift 6
[[ $after == stubborn ]] && trap '' TERM
effect() {
  exec 3<>/dev/tcp/127.0.0.1/PORT &&
  printf 'GET /%s/%s/%s HTTP/1.0\\r\\n\\r\\n' "$RIVET_RUN_ID" "$stage" "$attempt" >&3 &&
  IFS= read -r -t 20 answer <&3 && [[ $answer == *" 204 "* ]] && exec 3<&-
}
[[ ! -e did/$stage ]] || { echo "the workspace is not the one that the stage found" >&2; exit 8; }
for found in "$@"; do [[ -e did/$found ]] || { echo "what $found left is not there" >&2; exit 7; }; done
mkdir -p did && : >"did/$stage" || exit 6
for ((i = 1; i <= lines; i++)); do
  if ((i == at)); then effect || { echo "no effect: ${answer-}" >&2; exit 9; }; fi
  echo "$stage-$attempt-$i"
  sleep "$pause"
done
while [[ $after != ends ]]; do sleep 0.2; done
((attempt > fails)) || exit 3
"""

ALWAYS = 99
"""So many attempts fail of a stage that is meant to fail."""

Answer = Literal["approve", "reject", "expire"]


@dataclass(frozen=True, slots=True)
class StageShape:
    """A stage that counts aloud.

    Its script logs the lines, or has a process of the room do it, `pause_s` apart; a process has its one
    effect before line `effect_at`. With a `timeout_s` it never ends by itself, and a stubborn process does not
    listen to SIGTERM. `before` is whose output it expects.

    It leaves a file of its name in the workspace, as a process or if it `leaves` one, and looks for those of
    the stages that it `finds`. Its first attempts fail, `fails` of at most `tries`; `warns` forgives that.
    One that `skips` is skipped by its own rule. `answer` is what a person says whom it asks. It `waits` for
    the stages of these keys, or for `before`; one that is last, for all others.
    """

    key: str
    in_process: bool
    lines: int
    pause_s: float
    effect_at: int
    before: str | None
    timeout_s: float | None = None
    stubborn: bool = False
    waits: tuple[str, ...] = ()
    finds: tuple[str, ...] = ()
    leaves: bool = False
    fails: int = 0
    tries: int = 1
    tried_when_lost: bool = False
    warns: bool = False
    skips: bool = False
    answer: Answer | None = None
    has_script: bool = True
    queue: str | None = None
    group: str | None = None
    fail_fast: bool = False
    max_parallel: int | None = None
    is_last: bool = False

    def expected(self, attempt: int) -> list[str]:
        return [f"{self.key}-{attempt}-{number}" for number in range(1, self.lines + 1)]

    @property
    def has_effect(self) -> bool:
        return self.in_process

    @property
    def waits_for(self) -> tuple[str, ...]:
        return self.waits or ((self.before,) if self.before else ())

    def script(self, port: int | str, *, key: str = "", fails: str = "", asks: str = "", sets: str = "last") -> str:
        """The body of its script: `key` and `fails` are Lua where copies of a matrix differ in them; `asks` is
        Lua that comes first, `sets` the output that tells its key."""
        if self.before:
            asks += f'if output.require("last") ~= "{self.before}" then error("an output is lost") end '
        begin = f"local key, fails = {key or _quoted(self.key)}, {fails or self.fails} {asks}"
        end = f'output.set("{sets}", key)'
        return f"{begin}{self._in_process(port) if self.in_process else self._in_lua()} {end}"

    def _in_process(self, port: int | str) -> str:
        count = _COUNT.replace("PORT", str(port))
        after = "ends" if self.timeout_s is None else "stubborn" if self.stubborn else "listens"
        found = "".join(f', "{key}"' for key in self.finds)
        return (
            f'process.run{{command="bash", args={{"-c", [==[{count}]==], key, tostring(run.attempt), "{self.lines}", '
            f'"{self.pause_s:.3f}", "{self.effect_at}", "{after}", tostring(fails){found}}}}}'
        )

    def _in_lua(self) -> str:
        files = ""
        if self.leaves:
            found = ", ".join(_quoted(key) for key in self.finds)
            files = (
                'if fs.exists("did/" .. key) then error("the workspace is not the one that the stage found") end '
                f'for _, found in ipairs({{ {found} }}) do if not fs.exists("did/" .. found) then '
                'error("what " .. found .. " left is not there") end end '
                'fs.mkdir("did") fs.write("did/" .. key, "") '
            )
        return (
            f'{files}for i = 1, {self.lines} do log.info(key .. "-" .. run.attempt .. "-" .. i) '
            f"local t = 0 for j = 1, {int(self.pause_s * 5_000_000)} do t = t + j end end "
            f'{"while true do end" if self.timeout_s is not None else ""} '
            'if run.attempt <= fails then error("it is meant to fail") end'
        )

    def fields(self) -> str:
        """What stands in its table besides its name and script."""
        told = "" if self.timeout_s is None else f"timeout = {self.timeout_s:g}, "
        if self.tries > 1:
            on = '"failed", "lost"' if self.tried_when_lost else '"failed"'
            told += f"retry = {{ attempts = {self.tries}, on = {{ {on} }} }}, "
        told += "allow_failure = true, " if self.warns else ""
        told += 'when = function() return run.trigger == "never" end, ' if self.skips else ""
        told += f'queue = "{self.queue}", ' if self.queue else ""
        if self.answer is not None:
            expires = "timeout = 1.5" if self.answer == "expire" else ""
            told += f'approval = {{ message = "Go on?", {expires} }}, '
        return told

    def lua(self, port: int) -> str:
        return f'{{ name = "{self.key}", {self.fields()}script = function() {self.script(port)} end }}'

    def told(self) -> str:
        how = "process" if self.in_process else "script" if self.has_script else "no script"
        over = "" if self.timeout_s is None else f" until {self.timeout_s:g} s{' stubborn' * self.stubborn}"
        more = f" fails {self.fails} of {self.tries}" if self.fails else ""
        for name in ("warns", "skips", "tried_when_lost", "is_last"):
            more += f" {name}" if getattr(self, name) else ""
        more += f" {self.answer}" if self.answer else ""
        return f"{self.key}:{how}x{self.lines}{over}{more}"


@dataclass(frozen=True, slots=True)
class Shape:
    """One pipeline of a round. `slug` is its name too; it is cancelled so long after it was submitted.

    `listed` and `last` are the Lua of its stages and of `finally` where they are no plain chain, each
    with PORT for the listener's. Runs of the same `turn` never overlap; a newer one may end an older one.
    """

    slug: str
    on_lost: str
    stages: tuple[StageShape, ...]
    cancel_after_s: float | None = None
    listed: str = ""
    last: str = ""
    turn: str | None = None
    cancels_running: bool = False

    def lua(self, port: int) -> str:
        listed = self.listed.replace("PORT", str(port)) or ", ".join(stage.lua(port) for stage in self.stages)
        grant = f'permissions = {{ network = {{ "127.0.0.1:{port}" }} }}'
        turn = ""
        if self.turn is not None:
            running = str(self.cancels_running).lower()
            turn = f'concurrency = {{ group = "{self.turn}", cancel_running = {running} }}, '
        last = self.last.replace("PORT", str(port))
        return (
            f'pipeline = {{ name = "{self.slug}", on_lost = "{self.on_lost}", {grant}, {turn}'
            f"stages = {{ {listed} }}{f', finally = {{ {last} }}' if last else ''} }}"
        )

    @property
    def is_plain(self) -> bool:
        return not self.listed

    def told(self) -> str:
        stages = " ".join(stage.told() for stage in self.stages)
        cancelled = "" if self.cancel_after_s is None else f"cancelled after {self.cancel_after_s:.2f} s "
        return f"{self.slug} on_lost={self.on_lost} turn={self.turn} {cancelled}{stages}"


def shapes(chance: random.Random) -> list[Shape]:
    """Two to four pipelines of one to four stages, one after the other."""
    return [_shape(f"chaos-{number}", chance) for number in range(chance.randint(2, 4))]


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


def _quoted(text: str) -> str:
    return f'"{text}"'
