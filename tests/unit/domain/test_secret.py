"""Secrets as values: who may use one, which branches a glob means, what an opaque value shows."""

import pytest

from rivet.domain.secret import NAME, Audience, Opaque, Reference, branch_matches, holds_opaque


@pytest.mark.parametrize(
    ("audience", "pipeline", "branch", "may"),
    [
        (Audience(("deploy",)), "deploy", None, True),
        (Audience(("deploy",)), "deploy", "main", True),
        (Audience(("deploy",)), "other", "main", False),
        (Audience(all_pipelines=True), "other", None, True),
        (Audience(("deploy",), ("main",)), "deploy", "main", True),
        (Audience(("deploy",), ("main",)), "deploy", "feature", False),
        (Audience(("deploy",), ("main",)), "deploy", None, False),
        (Audience(all_pipelines=True, branches=("release/*", "main")), "any", "release/2", True),
        (Audience(branches=("main",)), "deploy", "main", False),
    ],
)
def test_who_may_use_a_secret(audience, pipeline, branch, may):
    assert (audience.has_pipeline(pipeline) and audience.has_branch(branch)) is may


@pytest.mark.parametrize(
    ("branch", "glob", "matches"),
    [
        ("main", "main", True),
        ("main", "ma", False),
        ("release/1", "release/*", True),
        ("release/1/fix", "release/*", False),
        ("release/1/fix", "release/**", True),
        ("v1", "v?", True),
        ("a.b", "a?b", True),
        ("aXb", "a.b", False),
        ("a[b]", "a[b]", True),
        ("main\nother", "main", False),
    ],
)
def test_what_a_glob_of_branches_means(branch, glob, matches):
    assert branch_matches(branch, glob) is matches


@pytest.mark.parametrize("name", ["A", "DEPLOY_TOKEN", "A1", "A" * 100])
def test_names_that_a_secret_may_have(name):
    assert NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["", "a", "1A", "_A", "A-B", "A" * 101, "A\n", "Ä"])
def test_names_that_no_secret_may_have(name):
    assert not NAME.fullmatch(name)


def test_an_opaque_value_shows_its_literals_and_three_stars():
    assert str(Opaque((b"Bearer ", Reference("TOKEN"), b"\xff"))) == "Bearer ***\ufffd"


def test_an_opaque_value_is_found_wherever_it_stands():
    inner = Opaque((Reference("A"),))
    assert all(holds_opaque(value) for value in (inner, [1, inner], {"a": [{"b": inner}]}))
    assert not holds_opaque({"a": ["***", 1, None]})
