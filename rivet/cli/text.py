"""Small words for people: times, durations, and text of strangers made harmless for a terminal."""

import re
from datetime import UTC, datetime

from rivet.domain.log import decode_line

_ENCODED = re.compile("[\uf700-\uf7ff]")
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_PLAIN = re.compile("[\t\n\x20-\x7e]*")
_COLOUR = re.compile(r"\x1b\[[0-9;:]*[A-Za-z]")


def shown(text: str) -> str:
    """An encoded line of a log as a terminal may show it: without colours, other control bytes by name."""
    if _ENCODED.search(text):
        text = decode_line(text).decode("utf-8", "backslashreplace")
    if "\x1b" in text:
        text = _COLOUR.sub("", text)
    if "\r" in text:
        # A progress bar writes over its line again and again; what stood there last is what is seen.
        text = text.rstrip("\r").rpartition("\r")[2]
    return harmless(text)


def shown_block(text: str) -> str:
    """`shown` of each line of a text of many; where nothing needs care, which is common, at once."""
    if _PLAIN.fullmatch(text):
        return text
    return "\n".join(line if _PLAIN.fullmatch(line) else shown(line) for line in text.split("\n"))


def harmless(text: str) -> str:
    """Any text, with what could steer a terminal written as `\\xNN`. Line feeds and tabs are kept."""
    return _UNSAFE.sub(lambda found: _named(found[0]), text)


def raw(text: str) -> bytes:
    """The very bytes of an encoded line."""
    return decode_line(text)


def duration(started: str | None, ended: str | None) -> str:
    """From one time to another (else to now) in words: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 4 min`."""
    begun = parsed(started)
    if begun is None:
        return ""
    return seconds(((parsed(ended) or datetime.now(UTC)) - begun).total_seconds())


def seconds(value: float) -> str:
    value = max(0.0, value)
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def since(at: str | None) -> str:
    """How long ago, in words; empty if it never was."""
    begun = parsed(at)
    if begun is None:
        return ""
    return f"{seconds((datetime.now(UTC) - begun).total_seconds())} ago"


def parsed(at: str | None) -> datetime | None:
    """A time of the API; None if there is none, or it cannot be read."""
    if not at:
        return None
    try:
        found = datetime.fromisoformat(at)
    except (ValueError, TypeError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _named(char: str) -> str:
    number = ord(char)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
