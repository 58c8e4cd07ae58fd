"""The ledger of what is stored: it is whole, and its page is what it says."""

from pathlib import Path

import pytest

from rivet import engine
from rivet.domain.retention import HOME, KEYS, RUNNER, TABLES, Rule, line_of, with_ledger
from rivet.store import kept_tables, tables

DOCS = Path(__file__).resolve().parents[3] / "docs"
ENGINE = Path(engine.__file__).parent


def test_every_table_has_its_line_and_no_line_is_of_none():
    assert kept_tables.METADATA is tables.METADATA
    assert {kept.name for kept in TABLES} == {*tables.METADATA.tables, "alembic_version"}


@pytest.mark.parametrize("kept", [*TABLES, *KEYS, *HOME, *RUNNER], ids=lambda kept: kept.name)
def test_a_line_says_how_long_and_who_sees_to_it(kept):
    assert kept.rules
    assert kept.says
    if kept.verb:
        assert (ENGINE / f"{kept.verb}.py").exists()
    if kept in TABLES:
        assert kept.group
        by_itself = {Rule.PARENT, Rule.BOUNDED, Rule.BY_HAND}
        assert kept.verb or set(kept.rules) <= by_itself


def test_names_are_patterns():
    assert line_of("logs/api.log", HOME).name == "logs/*.log"
    assert line_of("logs/api.log.2", HOME).name == "logs/*.log.*"
    assert line_of("artifacts/x/ab/abcd", HOME).name == "artifacts/**"
    assert line_of("artifacts", HOME).name == "artifacts/**"
    assert line_of("artifactsx", HOME) is None
    assert line_of("keys/deeper/one", HOME) is None
    assert line_of("journal:here", KEYS).name == "journal:*"


def test_the_page_is_up_to_date():
    page = (DOCS / "operations.md").read_text("utf-8")
    assert "begin: ledger" in page
    assert with_ledger(page) == page
