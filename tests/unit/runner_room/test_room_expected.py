"""A slot remembers which stages needed a room, and forgets those that do not any more."""

from dataclasses import dataclass

import pytest

from rivet.runner import room_expected
from rivet.runner.room_expected import ExpectedRooms


@dataclass
class Job:
    digest: str


@dataclass
class Stage:
    key: str


def test_a_stage_is_expected_to_need_what_it_needed_before():
    expected = ExpectedRooms()
    assert not expected.includes(Job("a"), Stage("build"))
    expected.note(Job("a"), Stage("build"))
    assert expected.includes(Job("a"), Stage("build"))


@pytest.mark.parametrize(("digest", "key"), [("b", "build"), ("a", "test")])
def test_another_stage_or_another_definition_is_not_expected_to(digest, key):
    expected = ExpectedRooms()
    expected.note(Job("a"), Stage("build"))
    assert not expected.includes(Job(digest), Stage(key))


def test_one_that_was_made_in_vain_is_not_made_again():
    expected = ExpectedRooms()
    expected.note(Job("a"), Stage("build"))
    expected.forget(Job("a"), Stage("build"))
    expected.forget(Job("a"), Stage("never"))
    assert not expected.includes(Job("a"), Stage("build"))


def test_what_needed_one_longest_ago_is_forgotten_first(monkeypatch):
    monkeypatch.setattr(room_expected, "MOST", 2)
    expected = ExpectedRooms()
    for key in ("a", "b", "a", "c"):
        expected.note(Job("x"), Stage(key))
    assert [expected.includes(Job("x"), Stage(key)) for key in "abc"] == [True, False, True]
