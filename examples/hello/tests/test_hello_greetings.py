"""Greetings say the right thing to the right person."""

import pytest
from hello import UnknownLanguage, greet, languages


def test_a_greeting_is_in_english_unless_asked_otherwise():
    assert greet("Ada") == "Hello, Ada!"


@pytest.mark.parametrize(
    ("language", "expected"), [("de", "Guten Tag, Ada!"), ("en", "Hello, Ada!"), ("fr", "Bonjour Ada !")]
)
def test_a_greeting_is_in_the_language_asked_for(language, expected):
    assert greet("Ada", language) == expected


def test_blanks_around_a_name_are_left_out():
    assert greet("  Ada ") == "Hello, Ada!"


def test_nobody_is_not_greeted():
    with pytest.raises(ValueError, match="whom to greet"):
        greet("  ")


def test_an_unknown_language_is_named_with_the_known_ones():
    with pytest.raises(UnknownLanguage, match="'xx'; there is de, en, fr"):
        greet("Ada", "xx")


def test_languages_are_listed_in_order():
    assert languages() == sorted(languages())
