"""Greetings in a few languages."""

from hello.greetings import UnknownLanguage, greet, languages

__all__ = ["UnknownLanguage", "greet", "languages"]
