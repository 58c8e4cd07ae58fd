"""Lua patterns, matched without Lua: on bytes as Lua does, with a bound on the steps of a match.

A pattern comes from a pipeline and a value from whoever starts a run, so that a match may cost no more than
a fixed number of steps: backtracking over a few `.-` would else keep an API busy for years.
"""

from collections.abc import Callable
from dataclasses import dataclass

MAX_PATTERN = 200
MAX_CAPTURES = 32
MAX_STEPS = 200_000
_QUANTIFIERS = frozenset(b"*+-?")


class BadPattern(ValueError):
    """The text is no Lua pattern, or matching it takes too many steps; the message says which."""


def _where(test: Callable[[int], bool]) -> frozenset[int]:
    return frozenset(byte for byte in range(256) if test(byte))


_ANY = _where(lambda byte: True)
_CLASSES: dict[int, frozenset[int]] = {
    ord("a"): _where(lambda byte: chr(byte).isalpha() and byte < 128),
    ord("c"): _where(lambda byte: byte < 32 or byte == 127),
    ord("d"): frozenset(b"0123456789"),
    ord("g"): _where(lambda byte: 32 < byte < 127),
    ord("l"): frozenset(b"abcdefghijklmnopqrstuvwxyz"),
    ord("p"): _where(lambda byte: 32 < byte < 127 and not chr(byte).isalnum()),
    ord("s"): frozenset(b" \t\n\v\f\r"),
    ord("u"): frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    ord("w"): _where(lambda byte: chr(byte).isalnum() and byte < 128),
    ord("x"): frozenset(b"0123456789abcdefABCDEF"),
}


@dataclass(frozen=True, slots=True)
class _Single:
    """One byte out of a set, as often as the quantifier says."""

    members: frozenset[int]
    quantifier: str


@dataclass(frozen=True, slots=True)
class _Capture:
    """Where a capture opens or closes, or what is matched again."""

    kind: str
    index: int


@dataclass(frozen=True, slots=True)
class _Balance:
    opening: int
    closing: int


@dataclass(frozen=True, slots=True)
class _Frontier:
    members: frozenset[int]


_Item = _Single | _Capture | _Balance | _Frontier


class LuaPattern:
    """A compiled pattern. Raises BadPattern where the text is none."""

    def __init__(self, text: str) -> None:
        raw = text.encode("utf-8", "surrogateescape")
        if len(raw) > MAX_PATTERN:
            raise BadPattern(f"it has {len(raw)} bytes, and {MAX_PATTERN} are allowed")
        self._from_start = raw.startswith(b"^")
        self._to_end = False
        self._items: list[_Item] = []
        self._open: list[int] = []
        self._captures = 0
        at = 1 if self._from_start else 0
        while at < len(raw):
            at = self._item(raw, at)
        if self._open:
            raise BadPattern("a capture is opened and never closed")

    def matches(self, value: str) -> bool:
        """Whether the pattern is found in `value`, as `string.find` would. BadPattern if that takes long."""
        raw = value.encode("utf-8", "surrogateescape")
        match = _Match(raw, self._items, self._to_end, self._captures)
        starts = (0,) if self._from_start else range(len(raw) + 1)
        return any(match.at(start, 0) for start in starts)

    def _item(self, raw: bytes, at: int) -> int:
        byte = raw[at]
        following = raw[at + 1 : at + 2]
        if byte == ord("$") and at + 1 == len(raw):
            self._to_end = True
        elif byte == ord("("):
            if self._captures == MAX_CAPTURES:
                raise BadPattern(f"it has more than {MAX_CAPTURES} captures")
            self._items.append(_Capture("open", self._captures))
            self._open.append(self._captures)
            self._captures += 1
        elif byte == ord(")"):
            if not self._open:
                raise BadPattern("a capture is closed that was never opened")
            self._items.append(_Capture("close", self._open.pop()))
        elif byte == ord("%") and following == b"b":
            pair = raw[at + 2 : at + 4]
            if len(pair) < 2:
                raise BadPattern("%b wants two characters after it")
            self._items.append(_Balance(pair[0], pair[1]))
            return at + 4
        elif byte == ord("%") and following == b"f":
            if raw[at + 2 : at + 3] != b"[":
                raise BadPattern("%f wants a set in brackets after it")
            members, at = _set(raw, at + 2)
            self._items.append(_Frontier(members))
            return at
        elif byte == ord("%") and following.isdigit():
            index = following[0] - ord("1")
            if index < 0 or index >= self._captures or index in self._open:
                raise BadPattern(f"%{following.decode()} refers to a capture that is not complete there")
            self._items.append(_Capture("again", index))
            return at + 2
        else:
            members, at = _set(raw, at)
            quantifier = chr(raw[at]) if at < len(raw) and raw[at] in _QUANTIFIERS else ""
            self._items.append(_Single(members, quantifier))
            return at + len(quantifier)
        return at + 1


def _set(raw: bytes, at: int) -> tuple[frozenset[int], int]:
    """The bytes that one class, character or bracketed set stands for, and where it ends."""
    byte = raw[at]
    if byte == ord("."):
        return _ANY, at + 1
    if byte == ord("%"):
        if at + 1 == len(raw):
            raise BadPattern("it ends with %")
        return _class(raw[at + 1]), at + 2
    if byte != ord("["):
        return frozenset([byte]), at + 1
    at += 1
    negated = raw[at : at + 1] == b"^"
    at += negated
    members: frozenset[int] = frozenset()
    first = True
    while first or raw[at : at + 1] != b"]":
        first = False
        if at >= len(raw):
            raise BadPattern("a [ has no ]")
        if raw[at] == ord("%"):
            if at + 1 == len(raw):
                raise BadPattern("a [ has no ]")
            members |= _class(raw[at + 1])
            at += 2
        elif raw[at + 1 : at + 2] == b"-" and raw[at + 2 : at + 3] not in (b"", b"]"):
            members |= frozenset(range(raw[at], raw[at + 2] + 1))
            at += 3
        else:
            members |= frozenset([raw[at]])
            at += 1
    return (_ANY - members if negated else members), at + 1


def _class(letter: int) -> frozenset[int]:
    lower = letter | 0x20
    if chr(letter).isalpha() and letter < 128 and lower in _CLASSES:
        return _CLASSES[lower] if letter == lower else _ANY - _CLASSES[lower]
    return frozenset([letter])


class _Match:
    """One attempt at a value; counts its steps."""

    def __init__(self, raw: bytes, items: list[_Item], to_end: bool, captures: int) -> None:
        self._raw = raw
        self._items = items
        self._to_end = to_end
        self._starts = [0] * captures
        self._ends = [0] * captures
        self._left = MAX_STEPS

    def at(self, place: int, number: int) -> bool:
        """Whether the items from `number` on match from `place` on."""
        self._left -= 1
        if self._left < 0:
            raise BadPattern(f"matching takes more than {MAX_STEPS} steps")
        place, number, fits = self._past_plain(place, number)
        if not fits:
            return False
        if number == len(self._items):
            return not self._to_end or place == len(self._raw)
        match self._items[number]:
            case _Single(members, quantifier):
                return self._single(members, quantifier, place, number)
            case _Capture("again", index):
                again = self._raw[self._starts[index] : self._ends[index]]
                return self._raw.startswith(again, place) and self.at(place + len(again), number + 1)
            case _Capture(kind, index):
                marks = self._starts if kind == "open" else self._ends
                before, marks[index] = marks[index], place
                if self.at(place, number + 1):
                    return True
                marks[index] = before
                return False
            case _Balance(opening, closing):
                end = self._balanced(opening, closing, place)
                return end is not None and self.at(end, number + 1)
            case _Frontier(members):
                before = self._raw[place - 1] if place else 0
                here = self._raw[place] if place < len(self._raw) else 0
                return before not in members and here in members and self.at(place, number + 1)

    def _past_plain(self, place: int, number: int) -> tuple[int, int, bool]:
        """Go over items that take exactly one byte, without recursion; False where one does not fit."""
        while number < len(self._items):
            item = self._items[number]
            if not isinstance(item, _Single) or item.quantifier:
                break
            if place == len(self._raw) or self._raw[place] not in item.members:
                return place, number, False
            place += 1
            number += 1
        return place, number, True

    def _single(self, members: frozenset[int], quantifier: str, place: int, number: int) -> bool:
        raw = self._raw
        if quantifier == "-":
            while not self.at(place, number + 1):
                if place == len(raw) or raw[place] not in members:
                    return False
                place += 1
            return True
        least, most = {"?": (0, 1), "*": (0, len(raw)), "+": (1, len(raw))}[quantifier]
        count = 0
        while count < most and place + count < len(raw) and raw[place + count] in members:
            count += 1
        self._left -= count // 16
        return any(self.at(place + taken, number + 1) for taken in range(count, least - 1, -1))

    def _balanced(self, opening: int, closing: int, place: int) -> int | None:
        if self._raw[place : place + 1] != bytes([opening]):
            return None
        depth = 0
        for at in range(place, len(self._raw)):
            self._left -= 1
            if self._raw[at] == closing:
                depth -= 1
                if depth == 0:
                    return at + 1
            elif self._raw[at] == opening:
                depth += 1
        return None
