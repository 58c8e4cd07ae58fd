"""Reports of a stage: its tests and its coverage, as records of the journal."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import zstandard

from rivet.domain.record import RecordType
from rivet.domain.report import MOST_CASES, Case, Coverage
from rivet.modules.contract import CallError

AT_ONCE = 200
"""So many cases of the largest size fit into one record when they are packed."""

Record = Callable[[RecordType, Mapping[str, Any], bytes], None]


class StageReports:
    """The contract's `Reports`. Cases are numbered through all reports of the attempt; each passes `mask`."""

    def __init__(self, record: Record, mask: Callable[[Any], Any]) -> None:
        self._record, self._mask = record, mask
        self._cases = self._coverages = 0

    def tests(self, cases: Sequence[Case]) -> None:
        if self._cases + len(cases) > MOST_CASES:
            raise CallError(f"report.junit: a stage reports at most {MOST_CASES} tests, these are more")
        packer = zstandard.ZstdCompressor()
        for at in range(0, len(cases), AT_ONCE):
            some = [self._mask(case).as_list() for case in cases[at : at + AT_ONCE]]
            body = packer.compress(json.dumps(some, ensure_ascii=True).encode())
            self._record(RecordType.TESTS, {"first": self._cases + 1, "count": len(some)}, body)
            self._cases += len(some)

    def coverage(self, coverage: Coverage) -> None:
        self._coverages += 1
        told = {
            "place": self._coverages,
            "source": coverage.source,
            "form": coverage.form,
            "lines": coverage.lines,
            "covered": coverage.covered,
        }
        self._record(RecordType.COVERAGE, told, b"")
