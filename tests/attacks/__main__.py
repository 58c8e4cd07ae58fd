"""`python -m tests.attacks`: play cases against a whole system, print a table, end with how many held.

As root the cases are played twice, by a runner of root's and by one of an ordinary user's; the last line
counts both. Exit code 0 only if nothing was breached or invalid.
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path

from .cases import Case, UnreadableCases, read_cases
from .judge import Verdict
from .listeners import allowed_server, name_server
from .pipeline import STAGE_S
from .play import Player
from .target import target

HERE = Path(__file__).parent
FILES = (HERE / "given.lua.txt", HERE / "own.lua.txt")
WORDS = ("held", "breached", "invalid", "not applicable")


def main() -> int:
    asked = _arguments()
    try:
        cases = [case for file in asked.cases or FILES for case in read_cases(file)]
    except (OSError, UnreadableCases) as error:
        print(f"tests.attacks: {error}", file=sys.stderr)
        return 2
    cases = [case for case in cases if not asked.only or any(word in case.name for word in asked.only)]
    verdicts: list[Verdict] = []
    sound = True
    for ordinary in _as_whom(asked):
        played, left = play(cases, ordinary, asked)
        verdicts += played
        sound = sound and not left
    counts = Counter(verdict.word for verdict in verdicts)
    print(", ".join(f"{counts[word]} {word}" for word in WORDS), flush=True)
    return 0 if sound and not counts["breached"] and not counts["invalid"] and verdicts else 1


def play(cases: list[Case], ordinary: bool, asked: argparse.Namespace) -> tuple[list[Verdict], list[str]]:
    """Verdicts, and what was found on the host in the end."""
    who = "an ordinary user" if ordinary or os.geteuid() != 0 else "root"
    begun = time.monotonic()
    with allowed_server() as port, name_server() as names, target(
        ordinary=ordinary, slots=asked.at_once, allowed_port=port, name_server=names, isolation=asked.isolation
    ) as system:
        if not asked.json:
            print(f"as {who}: {len(cases)} cases, {asked.at_once} at once, at level {asked.isolation}", flush=True)
            print(_row("case", "expected", "outcome", "ms", "verdict"), flush=True)
        host = "rebind.test" if names is not None and os.geteuid() == 0 else None
        player = Player(system, asked.at_once, host, asked.seconds)
        verdicts = player.play(cases, lambda verdict: _tell(verdict, who, asked.json))
        left = player.after_all()
    for found in left:
        print(f"as {who}, in the end: {found}", flush=True)
    if not asked.json:
        print(f"as {who}: {time.monotonic() - begun:.0f} s", flush=True)
    return verdicts, left


def _tell(verdict: Verdict, who: str, as_json: bool) -> None:
    case = verdict.case
    if as_json:
        told = {
            "as": who, "case": case.name, "expected": sorted(case.expect), "outcome": verdict.outcome,
            "milliseconds": round(verdict.milliseconds), "verdict": verdict.word, "why": verdict.why,
        }  # fmt: skip
        print(json.dumps(told), flush=True)
        return
    row = _row(case.name, "|".join(sorted(case.expect)), verdict.outcome, f"{verdict.milliseconds:.0f}", verdict.word)
    print(row + (f"  ({verdict.why})" if verdict.why else ""), flush=True)


def _row(case: str, expected: str, outcome: str, milliseconds: str, verdict: str) -> str:
    return f"{case:46} {expected:34} {outcome:8} {milliseconds:>7}  {verdict}"


def _as_whom(asked: argparse.Namespace) -> list[bool]:
    if os.geteuid() != 0 or asked.ordinary:
        return [True]
    return [False] if asked.root else [False, True]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.attacks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=Path, action="append", help="a file of cases (repeatable); ours by default")
    parser.add_argument("--only", action="append", help="cases whose names hold this (repeatable)")
    who = parser.add_mutually_exclusive_group()
    who.add_argument("--ordinary", action="store_true", help="the runner is an ordinary user's, and no root's besides")
    who.add_argument("--root", action="store_true", help="the runner is root's, and no ordinary user's besides")
    parser.add_argument("--at-once", type=int, default=3, help="cases side by side (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=STAGE_S, help="what a stage may take that time may end (default: %(default)s)")
    parser.add_argument(
        "--isolation", default="namespaces", choices=("namespaces", "landlock", "none"),
        help="the runner's level (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="one object a case instead of the table")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
