"""The metrics and the ledger as a page of documentation: tables in Markdown, read from the lists of them."""

import re
import sys
from pathlib import Path

from rivet.domain.retention import with_ledger
from rivet.telemetry.metrics import METRICS

BEGIN, END = "<!-- begin: metrics -->", "<!-- end: metrics -->"


def with_metrics(page: str) -> str:
    """A page in which what stands between `BEGIN` and `END` is the table."""
    rows = ["| metric | kind | labels | meaning |", "| --- | --- | --- | --- |"]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "none"
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning} |")
    table = "\n".join(rows)
    return re.sub(f"{BEGIN}\n.*?{END}", lambda _: f"{BEGIN}\n{table}\n{END}", page, flags=re.DOTALL)


if __name__ == "__main__":
    for each in map(Path, sys.argv[1:]):
        each.write_text(with_ledger(with_metrics(each.read_text("utf-8"))), "utf-8")
