"""What a command costs in a stage, beside the command alone: `python -m benchmarks.commands`.

Jobs of 1 and of 11 stages with no command, with one, and with five, in turns: what a stage takes of each kind is
the difference of the medians, divided by 10.
"""

from collections.abc import Iterator
from statistics import median

from benchmarks.floor import seconds_of_process, take_turns
from benchmarks.pipelines import TRUE, stages_of
from benchmarks.system import alone, seconds_of
from benchmarks.table import Row, ms
from tests.system.rivet_home import RivetHome

MORE, SEVERAL = 10, 5
TIMES = 7
FIRST_AIM_S, MORE_AIM_S = 0.010, 0.003


def rows(home: RivetHome) -> Iterator[Row]:
    works = {}
    for commands in (0, 1, SEVERAL):
        for stages in (1, 1 + MORE):
            lua = stages_of(f"C {commands} {stages}", stages, TRUE * commands)
            slug = f"c-{commands}-{stages}"
            seconds_of(home, slug, lua)
            works[f"{commands}/{stages}"] = lambda slug=slug, lua=lua: seconds_of(home, slug, lua)
    taken = take_turns(TIMES, alone=lambda: seconds_of_process("true"), **works)
    none, one, several = (
        (median(taken[f"{commands}/{1 + MORE}"]) - median(taken[f"{commands}/1"])) / MORE
        for commands in (0, 1, SEVERAL)
    )
    command = median(taken["alone"])
    floor = f"the command alone: {ms(command)}"
    first, more = one - none - command, (several - one) / (SEVERAL - 1) - command
    yield Row(
        f"a stage with one command ({ms(one)}), over one with none ({ms(none)}) and the command",
        f"+ {ms(first)}", floor, "–", f"+ ≤ {ms(FIRST_AIM_S)}", first <= FIRST_AIM_S,
    )  # fmt: skip
    yield Row("each command more", f"+ {ms(more)}", floor, "–", f"+ ≤ {ms(MORE_AIM_S)}", more <= MORE_AIM_S)


if __name__ == "__main__":
    alone(rows)
