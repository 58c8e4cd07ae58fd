"""Masking: no listed form of a secret gets through, in whatever pieces it comes; ordinary text stays as it is."""

import base64
import itertools
import json
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rivet.domain.mask import Masker
from rivet.domain.mask_forms import needles_of

TOKEN = b"ghp_Zx81kQw04LmB7sTy5RvC2nXd9PfH3jUa"
PEM = b"-----BEGIN PRIVATE KEY-----\n" + b"\n".join(
    base64.b64encode(bytes(range(at, at + 48))) for at in range(0, 192, 48)
) + b"\n-----END PRIVATE KEY-----\n"

FORMS = {
    "as it is": lambda value: value,
    "backwards": lambda value: value[::-1],
    "hexadecimal": lambda value: value.hex().encode(),
    "hexadecimal in capitals": lambda value: value.hex().upper().encode(),
    "base64": base64.b64encode,
    "base64 behind one byte": lambda value: base64.b64encode(b"u" + value),
    "base64 behind two bytes": lambda value: base64.b64encode(b"u:" + value + b"\n"),
    "base64 for URLs": base64.urlsafe_b64encode,
    "base64 in lines": base64.encodebytes,
    "URL encoding": lambda value: quote(value, safe="").encode(),
    "URL encoding of a path": lambda value: quote(value).encode(),
    "URL encoding of a form": lambda value: quote_plus(value).encode(),
    "JSON": lambda value: json.dumps(value.decode("utf-8", "replace")).encode(),
}

secrets = st.binary(min_size=12, max_size=200).filter(lambda value: len(value.strip()) >= 12)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=12, max_size=100)


def longest_shared(told: bytes, form: bytes) -> int:
    """How many bytes of `form` stand in `told` in a row."""
    return next(
        (size for size in range(len(form), 0, -1)
         if any(form[at : at + size] in told for at in range(len(form) - size + 1))),
        0,
    )


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(
    "value",
    [TOKEN, b"correct horse battery staple", "pässwörter/&sind länger?".encode(), b"\x00\xff\x10binary\x9c" * 4],
    ids=["a token", "words", "not ASCII", "not text"],
)
def test_every_listed_form_is_masked(value, form):
    if form is FORMS["JSON"] and b"\xff" in value:
        return  # JSON has no way to hold it
    told = Masker([value]).mask(b"before " + form(value) + b" after")
    assert told.startswith(b"before ")
    assert told.endswith(b" after")
    assert b"***" in told
    assert longest_shared(told[7:-6], form(value)) < 8


@settings(max_examples=60, deadline=None)
@given(secrets | texts.map(str.encode), st.binary(max_size=40), st.binary(max_size=40), st.data())
def test_no_form_gets_through_whatever_stands_around_it_and_however_it_is_cut(value, before, after, data):
    name = data.draw(st.sampled_from(sorted(FORMS)))
    form = FORMS[name](value.strip())
    whole = before + form + after
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    stream = Masker([value]).stream()
    edges = [0, *cuts, len(whole)]
    pieces = [stream.feed(whole[start:end]) for start, end in itertools.pairwise(edges)]
    told = b"".join(pieces) + stream.finish()
    if name != "JSON":
        assert form not in told
    assert value.strip() not in told
    assert told == Masker([value]).mask(whole)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=4, max_size=12), min_size=1, max_size=4), st.data())
def test_secrets_that_overlap_are_masked_the_same_in_pieces_as_at_once(values, data):
    """Of two letters only, so that the secrets overlap themselves and each other."""
    few = [bytes(97 + byte % 2 for byte in value) for value in values]
    whole = bytes(97 + byte % 2 for byte in data.draw(st.binary(max_size=60)))
    masker = Masker(few)
    stream = masker.stream()
    told = b"".join(stream.feed(whole[at : at + 1]) for at in range(len(whole))) + stream.finish()
    assert told == masker.mask(whole)
    assert not any(value in told for value in few)


@settings(max_examples=100, deadline=None)
@given(st.lists(secrets, max_size=3), st.binary(max_size=300))
def test_what_holds_no_form_of_a_secret_is_not_touched(values, text):
    if not any(needle in text for value in values for needle in needles_of(value)):
        masker = Masker(values)
        stream = masker.stream()
        assert masker.mask(text) == text
        assert stream.feed(text) + stream.finish() == text


def test_nothing_short_is_masked_but_the_whole_secret():
    masker = Masker([b'{\n  "user": "x",\n  "key": "Zx81kQw04LmB7sTy5RvC2nXd"\n}\n'])
    ordinary = b'if (a) {\n  run()\n}\n"user": "y"\n'
    assert masker.mask(ordinary) == ordinary
    assert masker.mask(b'  "key": "Zx81kQw04LmB7sTy5RvC2nXd"') == b"  ***"
    assert Masker([b"abcd"]).mask(b"abcd dcba YWJjZA== 61626364") == b"*** dcba YWJjZA== ***"


def test_what_is_in_every_word_is_not_masked():
    assert Masker([b"e", b"   ", b"\n"]).mask(b"hello\n there") == b"hello\n there"


def test_each_line_of_a_key_is_masked_and_the_lines_around_it_are_not():
    lines = PEM.splitlines()
    masker = Masker([PEM])
    assert masker.mask(lines[2] + b"\r\n" + lines[1]) == b"***\r\n***"
    assert masker.mask(lines[0]) == lines[0]
    assert masker.mask(b"key: " + PEM) == b"key: ***\n"
    assert longest_shared(masker.mask(PEM[::-1]), PEM[::-1]) < 28


@pytest.mark.parametrize("tool", [base64.encodebytes, lambda raw: raw.hex().encode()], ids=["base64", "hex"])
def test_a_long_secret_that_a_tool_encodes_in_lines_is_masked(tool):
    value = b"".join(b"%04x" % (at * 40503 % 65536) for at in range(100))
    told = Masker([value]).mask(tool(value))
    assert longest_shared(told, tool(value)) < 8


def test_a_secret_that_is_added_later_is_masked_from_then_on():
    masker = Masker()
    stream = masker.stream()
    assert stream.feed(TOKEN) == TOKEN
    masker.add(TOKEN)
    assert stream.feed(b"x " + TOKEN + b"\n") == b"x ***\n"


def test_lines_that_are_whole_are_told_at_once():
    stream = Masker([TOKEN]).stream()
    assert stream.feed(b"one line\n") == b"one line\n"
    assert stream.feed(b"and a gh") == b"and a "
    assert stream.feed(b"ost\n") == b"ghost\n"


def test_texts_anywhere_in_a_value_are_masked():
    value = {"a": [TOKEN.decode(), {"b": TOKEN, TOKEN.decode(): 1}], "n": 5, "t": True}
    assert Masker([TOKEN]).mask_value(value) == {"a": ["***", {"b": b"***", "***": 1}], "n": 5, "t": True}


def test_text_costs_little():
    """Far from the speed that it has, which is told in docs/secrets.md, so that a slow machine passes too."""
    line = b"2031-05-06T07:08:09Z INFO compiling src/module/of/the_project.py: 17 functions, 0 warnings\n"
    text = line * (4 * 2**20 // len(line))
    masker = Masker(b"%d" % at + TOKEN for at in range(5))
    begun = time.process_time()
    assert masker.mask(text) == text
    assert len(text) / (time.process_time() - begun) > 20e6
