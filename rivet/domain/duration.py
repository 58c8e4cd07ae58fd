"""Durations and sizes as people write them: `90`, `"90s"`, `"30m"`, `"2h"`; `"512MiB"`."""

import re
from typing import Any

_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600}
_UNITS_BYTES = {
    "": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30,
}  # fmt: skip


def read_duration(value: Any) -> float | None:
    """Seconds from a number or a text such as `"90s"`, `"2h"`; None where it is no duration over 0."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if 0 < value < float("inf") else None
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smh]?)", value) if isinstance(value, str) else None
    if found is None:
        return None
    seconds = float(found[1]) * _UNITS_S[found[2]]
    return seconds if seconds > 0 else None


def read_size(value: Any) -> int | None:
    """Bytes from a whole number or a text such as `"64MiB"`, `"1GB"`; None where it is no size over 0."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if 0 < value < 2**63 else None
    if not isinstance(value, str):
        return None
    found = re.fullmatch(r"([0-9]{1,12})\s?([KMG]i?B|)", value, re.IGNORECASE)
    if found is None:
        return None
    return int(found[1]) * _UNITS_BYTES[found[2].lower()] or None
