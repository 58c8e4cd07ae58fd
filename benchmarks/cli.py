"""Measure what the command line takes to answer: `python -m benchmarks.cli`.

`rivet --help` (aim: 120 ms) and `rivet check` of a pipeline of 500 lines (aim: 250 ms), beside the floor
`python -c pass`: the median of 15 of each, taken in turns.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="rvc") as folder:
        file = Path(folder) / "long.lua"
        stages = "".join(STAGE % (number, number) for number in range(LINES // STAGE.count("\n")))
        file.write_text(f'return {{\n  name = "Long",\n  stages = {{\n{stages}  }},\n}}\n')
        rivet = str(Path(sys.executable).with_name("rivet"))
        works = {
            "python -c pass": (sys.executable, "-c", "pass"),
            "rivet --help": (rivet, "--help"),
            f"rivet check of {len(file.read_text().splitlines())} lines": (rivet, "check", str(file)),
        }
        taken: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(TIMES):
            for name, argv in works.items():
                taken[name].append(seconds(argv))
    floor = statistics.median(taken["python -c pass"])
    for name, times in taken.items():
        middle = statistics.median(times)
        print(f"{name:<28} {middle * 1000:6.1f} ms   {middle / floor:5.1f} x")


def seconds(argv: tuple[str, ...]) -> float:
    """How long it takes, its process included. Raises CalledProcessError if it fails."""
    begun = time.perf_counter()
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
