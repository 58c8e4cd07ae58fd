"""Keep what a stage reported of its tests and its coverage, out of its journal."""

import json
from collections.abc import Mapping
from typing import Any

import zstandard

from rivet.domain.ids import RunId, StageKey
from rivet.domain.report import MOST_CASES, Case, Coverage
from rivet.engine.ports import Tx

MOST_UNPACKED = 16 * 1024 * 1024


def keep_tests(
    run: RunId, stage: StageKey, attempt: int, data: Mapping[str, Any], body: bytes, tx: Tx
) -> None:
    """The cases of one record. Raises ValueError, TypeError for what a runner of ours would not write."""
    first = int(data["first"])
    cases = [Case.read(told) for told in json.loads(_unpacked(body))]
    if first < 1 or first + len(cases) - 1 > MOST_CASES:
        raise ValueError(f"more than {MOST_CASES} tests of one attempt")
    tx.reports.add_tests(run, stage, attempt, first, cases)


def keep_coverage(run: RunId, stage: StageKey, attempt: int, data: Mapping[str, Any], tx: Tx) -> None:
    """Raises ValueError, TypeError for what a runner of ours would not write."""
    place = int(data["place"])
    if not 0 < place < 2**31:
        raise ValueError("coverage is numbered from 1")
    tx.reports.add_coverage(run, stage, attempt, place, Coverage.read(data))


def _unpacked(body: bytes) -> bytes:
    try:
        with zstandard.ZstdDecompressor(max_window_size=MOST_UNPACKED).stream_reader(body) as reader:
            content = reader.read(MOST_UNPACKED + 1)
    except zstandard.ZstdError as error:
        raise ValueError("test cases that cannot be unpacked") from error
    if len(content) > MOST_UNPACKED:
        raise ValueError("test cases that unpack to more than they may")
    return content
