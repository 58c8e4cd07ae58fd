"""What to say to whom."""

_GREETINGS = {"de": "Guten Tag, {}!", "en": "Hello, {}!", "fr": "Bonjour {} !"}


class UnknownLanguage(ValueError):
    """There is no greeting in that language."""


def greet(name, language="en"):
    """A greeting for `name`. Raises UnknownLanguage, and ValueError if there is no name."""
    if not name.strip():
        raise ValueError("whom to greet?")
    try:
        return _GREETINGS[language].format(name.strip())
    except KeyError:
        raise UnknownLanguage(f"no greeting in {language!r}; there is {', '.join(languages())}") from None


def languages():
    """The languages that there are greetings in."""
    return sorted(_GREETINGS)
