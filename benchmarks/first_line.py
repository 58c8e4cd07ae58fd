"""From submission to the first line, for a reader of the events and with `rivet run`: `python -m benchmarks.first_line`."""

import subprocess
import time
from collections.abc import Iterator
from statistics import median

from benchmarks.floor import seconds_of_process, take_turns
from benchmarks.pipelines import HELLO
from benchmarks.system import alone
from benchmarks.table import Row, ms
from tests.system.rivet_home import RIVET, RivetHome

TIMES = 20
READER_AIM_S, COMMAND_AIM_S = 0.040, 0.150


def rows(home: RivetHome) -> Iterator[Row]:
    for _ in range(3):
        home.finish(home.submit("hello", HELLO))
    taken = take_turns(
        TIMES,
        reader=lambda: as_a_reader_sees_it(home),
        command=lambda: with_rivet_run(home),
        bash=lambda: seconds_of_process("bash", "-c", "echo hello"),
    )
    bash = f"`bash -c 'echo hello'`: {ms(median(taken['bash']))}"
    for name, work, aim_s in (
        ("reader", "submit → first line, a reader of the events", READER_AIM_S),
        ("command", "`rivet run` → first line, the interpreter's start included", COMMAND_AIM_S),
    ):
        middle = median(taken[name])
        told = f"{ms(middle)} ({ms(min(taken[name]))} – {ms(max(taken[name]))})"
        yield Row(work, told, bash, "shown", f"≤ {ms(aim_s)}", middle <= aim_s)


def as_a_reader_sees_it(home: RivetHome) -> float:
    begun = time.perf_counter()
    events = home.events(home.submit("hello", HELLO))
    taken = next(time.perf_counter() - begun for event in events if event.type == "log")
    assert [event.type for event in events][-1] == "end"
    return taken


def with_rivet_run(home: RivetHome) -> float:
    file = home.file("hello", HELLO)
    begun = time.perf_counter()
    with subprocess.Popen(
        [*RIVET, "run", file], env=home.env(), cwd=home.folder, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        taken = next(time.perf_counter() - begun for line in process.stdout if "hello" in line and "|" in line)
        process.stdout.read()
    return taken


if __name__ == "__main__":
    alone(rows)
