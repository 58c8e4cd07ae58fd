"""The field `matrix`: its rows, one a combination of values, without those that are excluded."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from rivet.domain.field_rules import Fields
from rivet.domain.pipeline import MAX_COPIES, Function, Matrix
from rivet.domain.wording import lua_number, shown

MAX_NAME = 60


class BadMatrix(Exception):
    """Rows that no stage can have; the message says what was expected instead."""


def read_matrix(fields: Fields) -> Matrix | None:
    """None where the stage has none; what is wrong is among the findings."""
    value = fields.table.get("matrix")
    excluded = fields.items("exclude", "a list of partial rows")
    if value is None:
        if "exclude" in fields.table:
            fields.wrong("misplaced-field", f'{fields.what}: exclude: goes with "matrix" alone', "exclude")
        return None
    exclude = [row for row in excluded if isinstance(row, Mapping)]
    if len(exclude) != len(excluded):
        fields.expect("exclude", "a list of partial rows such as { { os = \"linux\" } }")
    if isinstance(value, Function):
        return Matrix(None, tuple(exclude))
    try:
        if not isinstance(value, Mapping):
            raise BadMatrix('a table such as { python = { "3.11", "3.12" } }, or a function that gives rows')
        return Matrix(tuple(combinations(value, exclude)), tuple(exclude))
    except BadMatrix as bad:
        fields.expect("matrix", str(bad), code="bad-matrix")
        return None


def combinations(lists: Mapping[Any, Any], exclude: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every combination of one value a name, the last name's changing fastest. Raises BadMatrix."""
    if not lists:
        raise BadMatrix("at least one name with a list of values")
    for name, values in lists.items():
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
            raise BadMatrix(f"names of at most {MAX_NAME} characters, with a list of values each")
        if not isinstance(values, list) or not values:
            raise BadMatrix(f"a list of at least one value at {shown(name)}")
        for value in values:
            _check_value(name, value)
    names = sorted(lists)
    count = 1
    for name in names:
        count *= len(lists[name])
    if count > 100 * MAX_COPIES:
        raise BadMatrix(f"at most {MAX_COPIES} combinations, and these are {count}")
    rows = [dict(zip(names, row, strict=True)) for row in itertools.product(*(lists[name] for name in names))]
    return _bounded(rows, exclude)


def rows_of(value: Any, exclude: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What a function at `matrix` gave: a list of rows, or lists of values by name. Raises BadMatrix."""
    if isinstance(value, Mapping) and value:
        return combinations(value, exclude)
    if not isinstance(value, list) or not value:
        raise BadMatrix("a list of at least one row, or a table of lists")
    for row in value:
        if not isinstance(row, Mapping) or not row or not all(isinstance(name, str) for name in row):
            raise BadMatrix("rows that are tables with named values")
        for name, each in row.items():
            _check_value(name, each)
    return _bounded([dict(row) for row in value], exclude)


def row_name(row: Mapping[str, Any]) -> str:
    """`os=linux, python=3.12`, for the name of a copy."""
    return ", ".join(f"{name}={_plain(row[name])}" for name in sorted(row))[:200]


def _bounded(rows: list[dict[str, Any]], exclude: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    left = [row for row in rows if not any(_matches(row, partial) for partial in exclude)]
    if not left:
        raise BadMatrix("at least one combination, and every one is excluded")
    if len(left) > MAX_COPIES:
        raise BadMatrix(f"at most {MAX_COPIES} combinations, and these are {len(left)}")
    return left


def _matches(row: Mapping[str, Any], partial: Mapping[str, Any]) -> bool:
    return bool(partial) and all(name in row and row[name] == value for name, value in partial.items())


def _check_value(name: str, value: Any) -> None:
    if isinstance(value, str) and len(value) <= 1000 and "\0" not in value:
        return
    if not isinstance(value, bool | int | float):
        raise BadMatrix(f"texts, numbers or booleans at {shown(name)}, and one is {shown(value)}")


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else lua_number(value)
