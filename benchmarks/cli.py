"""Measure what the command line takes to answer: `python -m benchmarks.cli`.

`rivet --help` (aim: 120 ms) and `rivet check` of a pipeline of 500 lines (aim: 250 ms), beside the floor
`python -c pass`: the median of 15 of each, taken in turns.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.floor import seconds_of_process, take_turns
from benchmarks.table import Row, ms, show
from tests.system.rivet_home import RivetHome

TIMES = 15
LINES = 500
STAGE = """    {
      name = "stage %d",
      script = function()
        log.info("step %d")
        process.run({ command = "true", args = { "a", "b" } })
      end,
    },
"""


def rows(_home: RivetHome | None = None) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="rvc") as folder:
        file = Path(folder) / "long.lua"
        stages = "".join(STAGE % (number, number) for number in range(LINES // STAGE.count("\n")))
        file.write_text(f'return {{\n  name = "Long",\n  stages = {{\n{stages}  }},\n}}\n')
        rivet = str(Path(sys.executable).with_name("rivet"))
        taken = take_turns(
            TIMES,
            floor=lambda: seconds_of_process(sys.executable, "-c", "pass"),
            help=lambda: seconds_of_process(rivet, "--help"),
            check=lambda: seconds_of_process(rivet, "check", str(file)),
        )
        lines = len(file.read_text().splitlines())
    floor = median(taken["floor"])
    for name, work, aim_s in (
        ("help", "`rivet --help`", 0.120),
        ("check", f"`rivet check` of {lines} lines", 0.250),
    ):
        middle = median(taken[name])
        yield Row(
            work, ms(middle), f"`python -c pass`: {ms(floor)}", f"{middle / floor:.1f}", f"≤ {ms(aim_s)}",
            middle <= aim_s,
        )  # fmt: skip


if __name__ == "__main__":
    show(rows())
