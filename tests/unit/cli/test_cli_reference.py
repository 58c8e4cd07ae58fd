"""What docs/ says of commands and settings is what they are, and commands that belong together are alike."""

from pathlib import Path

import pytest

from rivet.cli.reference import every_command, examples, with_reference
from rivet.wiring.settings import Settings

DOCS = Path(__file__).parents[3] / "docs"
EVERY = dict(every_command())
OF_A_PROJECT = ("artifact ", "pipeline ", "runs ", "secret ", "run", "plan")


@pytest.mark.parametrize("page", ["cli.md", "configuration.md"])
def test_the_page_is_as_make_docs_writes_it(page: str) -> None:
    text = (DOCS / page).read_text()
    assert with_reference(text) == text, "make docs"


@pytest.mark.parametrize("words", EVERY)
def test_every_command_is_on_the_page_with_an_example_of_its_own(words: str) -> None:
    assert f"`rivet {words}" in (DOCS / "cli.md").read_text()
    given = examples(EVERY[words])
    assert given
    assert all(line.partition("rivet ")[2].startswith(words.partition(" ")[0]) for line in given)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_on_the_page(name: str) -> None:
    assert f"| `RIVET_{name.upper()}` |" in (DOCS / "configuration.md").read_text()


@pytest.mark.parametrize("words", [words for words in EVERY if words in OF_A_PROJECT or " " in words])
def test_what_works_in_a_project_takes_project_quiet_and_json(words: str) -> None:
    if words.startswith(OF_A_PROJECT) and not words.startswith("runner "):
        assert {"project", "quiet", "as_json"} <= {parameter.name for parameter in EVERY[words].params}
