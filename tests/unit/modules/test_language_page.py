"""docs/language.md tells the language as it is, and every row of it is covered by a test that exists."""

import ast
import functools
import re
from pathlib import Path

import pytest

from rivet.domain.definition_rules import PIPELINE_FIELDS, PIPELINE_FIELDS_TO_COME
from rivet.domain.isolation import LEVELS
from rivet.domain.limits import BOUNDS
from rivet.domain.stage_rules import STAGE_FIELDS, STAGE_FIELDS_TO_COME
from rivet.modules.reference import with_reference
from rivet.modules.registry import FUNCTIONS
from rivet.modules.run import STAGE_VALUES, VALUES
from rivet.sandbox.definition import LANGUAGE
from tests.system.contract_rows import SAID, SCRIPTS, TESTS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "language.md").read_text()
OF_PLUGINS = {row for row in SCRIPTS if row.startswith("semver.")}


def section(title: str) -> str:
    """What stands beneath a heading of the second level."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def rows(title: str) -> dict[str, str]:
    """The rows of a section's tables: the first cell without ticks, and the second."""
    cells = re.findall(r"^\| ([^|]+) \| (.+) \|$", section(title), re.MULTILINE)
    return {name.replace("`", ""): told for name, told in cells if name not in ("---", "field", "function", "what")}


def is_to_come(told: str) -> bool:
    return told.lower().startswith("*to come*")


def function_rows() -> set[str]:
    return {re.split(r"[({]", name)[0] for name in rows("Modules")}


def every_row() -> list[str]:
    """All that must be covered."""
    fields = [
        f"{of}.{name}" for of, title in (("pipeline", "Fields of a pipeline"), ("stage", "Fields of a stage"))
        for name, told in rows(title).items() if not is_to_come(told)
    ]  # fmt: skip
    processes = [name for names in rows("Processes") for name in names.split(", ")]
    return [*fields, *sorted(function_rows()), *processes]


@functools.cache
def named_tests(file: str) -> frozenset[str]:
    """The tests that pytest collects from a file: its functions, which no class and no condition hides."""
    path = ROOT / file
    if not path.is_file() or not path.name.startswith("test_"):
        return frozenset()
    found = ast.parse(path.read_text()).body
    return frozenset(each.name for each in found if isinstance(each, ast.FunctionDef) and each.name.startswith("test_"))


@pytest.mark.parametrize(
    ("title", "fields", "to_come"),
    [("Fields of a pipeline", PIPELINE_FIELDS, PIPELINE_FIELDS_TO_COME),
     ("Fields of a stage", STAGE_FIELDS, STAGE_FIELDS_TO_COME)],
)  # fmt: skip
def test_the_page_has_each_field_and_says_which_are_to_come(title, fields, to_come):
    told = rows(title)
    assert tuple(told) == tuple(sorted(told, key=fields.index)) == fields
    assert {name for name, words in told.items() if is_to_come(words)} == set(to_come)


def test_the_modules_of_the_page_are_those_of_the_declarations():
    assert with_reference(PAGE) == PAGE, "the declarations have changed: make docs"


def test_the_page_has_every_function_and_value_that_there_is():
    declared = {call.title() for calls in FUNCTIONS.values() for call in calls.values() if ":end" not in call.function}
    values = {f"run.{name}" for name in (*VALUES, *STAGE_VALUES)}
    assert function_rows() == declared | values | {"matrix.NAME", "json.null", "print", "pipeline.define"}


def test_what_the_language_has_beyond_this_version_is_said_to_come():
    missing = {module for module in LANGUAGE if module not in FUNCTIONS} - {"matrix"}
    told = next(line for line in section("Modules").splitlines() if line.startswith("`container`"))
    assert missing <= set(re.findall(r"`(\w+)`", told))
    assert all(f'"{level}"' in rows("Fields of a pipeline")["isolation"] for level in LEVELS)


def test_the_page_has_every_limit_with_its_setting_and_its_reason():
    told = section("Limits")
    for name, bound in BOUNDS.items():
        line = next(line for line in told.splitlines() if f"`{name}`" in line)
        assert f"`{bound.setting}`" in line, name
        assert f"`{bound.reason}`" in line, name


@pytest.mark.parametrize("row", every_row())
def test_every_row_of_the_contract_is_covered(row):
    assert (row in SCRIPTS) != (row in TESTS), f"give {row} a script or a test in tests/system/contract_rows.py"


def test_nothing_is_covered_that_the_page_does_not_have():
    assert (SCRIPTS.keys() | TESTS.keys()) - OF_PLUGINS == set(every_row())
    assert SAID.keys() <= SCRIPTS.keys()


@pytest.mark.parametrize("row", TESTS)
def test_what_is_said_to_cover_a_row_is_a_test_of_the_whole_system(row):
    file, _, name = TESTS[row].partition("::")
    assert file.startswith("tests/system/")
    assert name in named_tests(file), f"{row}: there is no test {TESTS[row]}"


def test_a_row_that_nothing_covers_would_be_found():
    """The check itself: a field more on the page is a row more to cover."""
    before = set(every_row())
    assert {"pipeline.name", "stage.script", "process.run", "h:wait", "run.id", "HOME"} <= before
    assert "pipeline.triggers" not in before
    assert named_tests("tests/system/contract_rows.py") == frozenset()
    assert named_tests("tests/system/no_such_file.py") == frozenset()
