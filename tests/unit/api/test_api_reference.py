"""`docs/api.md` names every operation that the code offers."""

from pathlib import Path

from rivet.api.reference import with_operations
from rivet.app import app_with

PAGE = Path(__file__).parents[3] / "docs" / "api.md"


def test_the_page_of_the_api_has_every_operation_as_make_docs_writes_it():
    page = PAGE.read_text()
    document = app_with(None).spec
    assert page == with_operations(page, document), "run `make docs`"
    assert page.count("| `") == sum(len(operations) for operations in document["paths"].values())
