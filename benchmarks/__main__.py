"""All measurements, and at the end one table of them: `make bench`.

One system serves those of the table. Names pick some: `python -m benchmarks chain lag`.
"""

import sys

from benchmarks import (
    chain,
    cli,
    commands,
    crowds,
    first_line,
    lag,
    matrix,
    one_run,
    reruns,
    sandbox,
    start,
    throughput,
)
from benchmarks.system import a_system
from benchmarks.table import Row, show

ROWS = {
    "chain": chain.rows,
    "first_line": first_line.rows,
    "throughput": throughput.rows,
    "volume": crowds.of_lines,
    "lag": lag.rows,
    "commands": commands.rows,
    "watchers": crowds.of_watchers,
    "start": start.rows,
    "cli": cli.rows,
}
"""In the order of the table. `start` ends the system and starts it again."""
BESIDES = {"one_run": one_run.show}
BY_THEMSELVES = {"matrix": matrix.main, "reruns": reruns.main, "sandbox": sandbox.main}


def main() -> None:
    wanted = sys.argv[1:] or [*ROWS, *BESIDES, *BY_THEMSELVES]
    found: list[Row] = []
    with a_system() as home:
        for name in [name for name in BESIDES if name in wanted]:
            BESIDES[name](home)
        for name in [name for name in ROWS if name in wanted]:
            for row in ROWS[name](home):
                print(f"{name}: {row.work}: {row.took}", file=sys.stderr)
                found.append(row)
    for name in [name for name in BY_THEMSELVES if name in wanted]:
        BY_THEMSELVES[name]()
    show(found)


main()
