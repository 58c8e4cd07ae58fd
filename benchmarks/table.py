"""The table that `make bench` ends with: each work beside its floor, with the ratio and what is aimed for."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One line. `holds`: whether the aim is met; None where none is set."""

    work: str
    took: str
    floor: str = "–"
    ratio: str = "–"
    aim: str = "–"
    holds: bool | None = None


def show(rows: Iterable[Row]) -> None:
    """Print them as a table of Markdown, to be taken over into docs/performance.md."""
    print("| work | measured | floor | ratio | aim | met |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        met = {True: "yes", False: "no", None: "–"}[row.holds]
        print(f"| {row.work} | {row.took} | {row.floor} | {row.ratio} | {row.aim} | {met} |")


def ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
