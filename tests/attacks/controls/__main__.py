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
from .weaknesses import CONTROLS, Weakness

PATIENT_S = 10.0
"""What a case gets that time is not to end."""
NEVER = Path(__file__).with_name("never_caught.txt")


def main() -> int:
    asked = _arguments()
    cases = [case for file in asked.cases or FILES for case in read_cases(file)]
    cases = [case for case in cases if not asked.only or any(word in case.name for word in asked.only)]
    controls = [each for each in CONTROLS if not asked.control or each.name in asked.control]
    excused = never_caught()
    print(f"{'case':46} " + " ".join(f"{each.name:18}" for each in controls), flush=True)
    with ThreadPoolExecutor(asked.at_once) as pool:
        rows = list(pool.map(lambda case: row(case, controls, asked), cases))
    missed = [case.name for case, found in zip(cases, rows, strict=True) if not found and case.name not in excused]
    needless = [case.name for case, found in zip(cases, rows, strict=True) if found and case.name in excused]
    for name in missed:
        print(f"{name}: no control lets it through, and never_caught.txt does not say why")
    for name in needless:
        print(f"{name}: stands in never_caught.txt, and is caught")
    count = sum(1 for found in rows if found)
    print(f"{count} caught, {len(rows) - count - len(missed)} never caught for a reason, {len(missed)} never caught")
    return 1 if missed else 0


def row(case: Case, controls: list[Weakness], asked: argparse.Namespace) -> list[str]:
    """Names of the controls with which the case is caught, printed as a row."""
    found, cells = [], []
    for control in controls:
        if found and not asked.all:
            cells.append("")
            continue
        try:
            why = caught(case, control, asked.seconds if "timeout" in case.expect else PATIENT_S)
        except RuntimeError as failure:
            print(f"{failure}", file=sys.stderr)
            why = []
        cells.append("caught" if why else ".")
        if why:
            found.append(control.name)
        if asked.why:
            cells[-1] = (why or ["."])[0][:60]
    print(f"{case.name:46} " + " ".join(f"{cell:18}" for cell in cells), flush=True)
    return found


def never_caught() -> dict[str, str]:
    """By case, why no control lets it through."""
    lines = [line for line in NEVER.read_text().splitlines() if line and not line.startswith("#")]
    return {name.strip(): why.strip() for name, _, why in (line.partition(": ") for line in lines)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.attacks.controls", description=__doc__)
    parser.add_argument("--cases", type=Path, action="append", help="a file of cases (repeatable); ours by default")
    parser.add_argument("--only", action="append", help="cases whose names hold this (repeatable)")
    parser.add_argument("--control", action="append", choices=[each.name for each in CONTROLS], help="these alone")
    parser.add_argument("--all", action="store_true", help="try every control, also after one was caught")
    parser.add_argument("--why", action="store_true", help="print what was seen instead of `caught`")
    parser.add_argument("--seconds", type=float, default=1.0, help="what a case is allowed (default: %(default)s)")
    parser.add_argument("--at-once", type=int, default=3, help="cases side by side (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
