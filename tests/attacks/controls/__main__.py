"""`python -m tests.attacks.controls`: play cases in sandboxes that are weak on purpose, and print who was caught.

Exit code 0 if each case is caught with at least one control, or stands in `never_caught.txt` with the reason.
"""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..__main__ import FILES
from ..cases import Case, read_cases
from .pretend import caught
from .weaknesses import CONTROLS

PATIENT_S = 10.0
"""What a case gets that time is not to end."""
HERE = Path(__file__).parent
NEVER, TABLE = HERE / "never_caught.txt", HERE / "table.txt"


def main() -> int:
    asked = _arguments()
    cases = [case for file in asked.cases or FILES for case in read_cases(file)]
    cases = [case for case in cases if not asked.only or any(word in case.name for word in asked.only)]
    excused, known = listed(NEVER), listed(TABLE)
    print(f"{'case':46} " + " ".join(f"{each.name:18}" for each in CONTROLS), flush=True)
    with ThreadPoolExecutor(asked.at_once) as pool:
        rows = list(pool.map(lambda case: row(case, known.get(case.name, ""), case.name in excused, asked), cases))
    # What takes time or memory is caught on one machine and not quite on another: alone, it has another chance.
    for place, case in enumerate(cases):
        if not rows[place] and case.name not in excused:
            rows[place] = row(case, known.get(case.name, ""), False, asked)
    missed = [case.name for case, found in zip(cases, rows, strict=True) if not found and case.name not in excused]
    needless = [case.name for case, found in zip(cases, rows, strict=True) if found and case.name in excused]
    for name in missed:
        print(f"{name}: no control lets it through, and never_caught.txt does not say why")
    for name in needless:
        print(f"{name}: stands in never_caught.txt, and is caught")
    if asked.write:
        write_table(dict(zip([case.name for case in cases], rows, strict=True)))
    count = sum(1 for found in rows if found)
    print(f"{count} caught, {len(rows) - count - len(missed)} never caught for a reason, {len(missed)} missed")
    return 1 if missed else 0


def row(case: Case, known: str, is_excused: bool, asked: argparse.Namespace) -> list[str]:
    """Names of the controls with which the case is caught, printed as a row.

    Unless all are asked for, those come first that are `known` to catch it, and one that does is enough.
    """
    found: dict[str, str] = {}
    tried: set[str] = set()
    for control in sorted(CONTROLS, key=lambda each: each.name not in known.split(", ")):
        if not asked.all and (found or is_excused):
            break
        tried.add(control.name)
        try:
            why = caught(case, control, asked.seconds if "timeout" in case.expect else PATIENT_S)
        except RuntimeError as failure:
            print(failure, file=sys.stderr)
            why = []
        if why:
            found[control.name] = why[0][:100] if asked.why else "caught"
    cells = [found.get(each.name, "." if each.name in tried else "") for each in CONTROLS]
    print(f"{case.name:46} " + " ".join(f"{cell:18}" for cell in cells), flush=True)
    return list(found)


def listed(file: Path) -> dict[str, str]:
    """What a file says of cases: `NAME: WHAT` a line."""
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return {name.strip(): what.strip() for name, _, what in (line.rpartition(": ") for line in lines)}


def write_table(found: dict[str, list[str]]) -> None:
    """Note which controls let which case through, so that the next time one of these comes first."""
    head = [line for line in TABLE.read_text().splitlines() if line.startswith("#")]
    lines = [f"{name}: {', '.join(controls)}" for name, controls in found.items() if controls]
    TABLE.write_text("\n".join([*head, *lines]) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.attacks.controls", description=__doc__)
    parser.add_argument("--cases", type=Path, action="append", help="a file of cases (repeatable); ours by default")
    parser.add_argument("--only", action="append", help="cases whose names hold this (repeatable)")
    parser.add_argument("--all", action="store_true", help="try every control, also after one let the case through")
    parser.add_argument("--write", action="store_true", help="with --all: write table.txt anew")
    parser.add_argument("--why", action="store_true", help="print what was seen instead of `caught`")
    parser.add_argument("--seconds", type=float, default=1.0, help="what a case is allowed (default: %(default)s)")
    parser.add_argument("--at-once", type=int, default=3, help="cases side by side (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
