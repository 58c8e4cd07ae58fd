"""Lua patterns without Lua."""

import time

import pytest

from rivet.domain.lua_pattern import BadPattern, LuaPattern

FITS = [
    ("", "anything"),
    ("b", "abc"),
    ("^v%d+%.%d+$", "v1.23"),
    ("^[%w_-]+$", "a_b-c9"),
    ("^[^%s/]+$", "no-space"),
    ("^%a%A$", "a1"),
    ("^a-b$", "aaab"),
    ("^a?b$", "b"),
    ("^(%w+)=%1$", "key=key"),
    ("^%b()$", "(a(b)c)"),
    ("%f[%w]word%f[%W]", "a word here"),
    ("^[]]$", "]"),
    ("^[a%-z]+$", "a-z"),
    ("^.$", "x"),
    ("a$b", "a$b"),
    ("^...?$", "é"),
    ("^%$x", "$x"),
]
FAILS = [
    ("^v%d+$", "v"),
    ("^[%l]+$", "abC"),
    ("^(%w+)=%1$", "key=kez"),
    ("^%b()$", "(a(b)c"),
    ("%f[%w]word%f[%W]", "swords"),
    ("^a+$", ""),
    ("^%p$", "a"),
]


@pytest.mark.parametrize(("pattern", "value"), FITS)
def test_a_value_that_fits_matches(pattern, value):
    assert LuaPattern(pattern).matches(value)


@pytest.mark.parametrize(("pattern", "value"), FAILS)
def test_a_value_that_does_not_fit_does_not_match(pattern, value):
    assert not LuaPattern(pattern).matches(value)


@pytest.mark.parametrize(
    "pattern", ["[a", "%", "(a", "a)", "%1", "(%1)", "%b", "%bx", "%fa", "[%", "x" * 300, "()" * 40]
)
def test_what_is_no_pattern_is_refused(pattern):
    with pytest.raises(BadPattern):
        LuaPattern(pattern)


def test_backtracking_without_end_is_given_up_soon():
    begun = time.monotonic()
    with pytest.raises(BadPattern, match="steps"):
        LuaPattern(".-" * 12 + "b").matches("a" * 5000)
    assert time.monotonic() - begun < 5


def test_the_longest_pattern_needs_no_deep_stack():
    assert LuaPattern("a?" * 100).matches("a" * 100)
    assert LuaPattern("()" * 32 + "$").matches("")
