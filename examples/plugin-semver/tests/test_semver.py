"""The module `semver`, called as scripts call it."""

from pathlib import Path

import pytest
import rivet_semver
from rivet_semver import Compare, Next, Tagged

from rivet.modules.contract import CallError
from rivet.modules.declared import faults_of
from rivet.modules.reference import with_reference
from rivet.modules.registry import declared_in

CALLS = {call.function: call for call in declared_in(rivet_semver)}


class Clone:
    """What of a stage these functions use: a clone with some tags."""

    def __init__(self, *tags: str) -> None:
        self.tags, self.said = tags, []

    def run_git(self, title, path, arguments):
        assert (title, path, arguments) == ("semver.tagged", "src", ["tag", "--list"])
        return "\n".join(self.tags).encode()

    def say(self, level, text):
        self.said.append((level, text))


@pytest.mark.parametrize(
    ("a", "b", "order"), [("1.9.0", "1.10.0", -1), ("v2.0.0", "2.0.0", 0), ("1.0.1", "1.0.0", 1)]
)
def test_versions_are_compared_by_their_numbers(a, b, order):
    assert Compare.bind([a, b]).act(Clone()) == order


@pytest.mark.parametrize(("part", "following"), [("major", "2.0.0"), ("minor", "1.3.0"), ("patch", "1.2.4")])
def test_the_next_version_counts_one_part_up(part, following):
    assert Next.bind([{"version": "1.2.3", "part": part}]).act(Clone()) == following


def test_the_highest_tag_that_is_a_version_is_found():
    stage = Clone("v1.9.0", "v1.10.0", "nightly", "1.2")
    assert Tagged.bind(["src"]).act(stage) == "1.10.0"
    assert stage.said == [("debug", "2 of the tags in src are versions")]
    assert Tagged.bind(["src"]).act(Clone("nightly")) is None


def test_what_is_no_version_is_refused_by_name():
    with pytest.raises(CallError, match=r"semver\.compare: b: expected a text that matches"):
        Compare.bind(["1.0.0", "one"])


def test_rivet_takes_the_declarations():
    assert faults_of("semver", list(CALLS.values())) == []


def test_the_readme_has_the_reference():
    page = (Path(__file__).parents[1] / "README.md").read_text()
    assert with_reference(page, {"semver": CALLS}) == page
