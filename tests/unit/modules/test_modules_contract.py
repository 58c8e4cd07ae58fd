"""One declaration checks every call: its error names module, function, field, what was given and expected."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivet.domain.duration import read_duration
from rivet.modules import registry
from rivet.modules.contract import Call, CallError, Duration, Table, WorkspacePath, about
from rivet.sandbox.definition import LANGUAGE


class Place(Table):
    """For these tests."""

    line: int = about("the line", minimum=1)


class Opened(Call, module="sample", name="open", handle=True):
    """For these tests."""

    at: Place | None = about("where", default=None)


class Shut(Call, module="sample", of="open", short=("hard",)):
    """For these tests."""

    hard: bool = about("whether to slam it", default=False)


class Sample(Call, module="sample", short=("word", "count")):
    """For these tests."""

    word: str = about("a word", minimum=1, maximum=5)
    count: int = about("how many", default=1, minimum=0)
    tags: list[str] = about("tags", default=())
    wait: Duration | None = about("how long", default=None)
    place: WorkspacePath = about("where", default=".")


def refused(*args):
    with pytest.raises(CallError) as caught:
        Sample.bind(args)
    return str(caught.value)


def test_the_short_form_and_the_table_mean_the_same():
    assert vars(Sample.bind(["ab", 3])) == vars(Sample.bind([{"word": "ab", "count": 3}]))


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ([], "sample.sample: word: is required"),
        ([{"wrod": "a"}], 'has no field "wrod"; did you mean "word"?'),
        (["a", "many"], 'sample.sample: count: expected a whole number, given "many"'),
        (["a", 1.5], "count: expected a whole number, given 1.5"),
        (["a", -1], "count: expected at least 0, given -1"),
        (["toolong"], "word: expected at most 5 bytes long"),
        ([{"word": "a", "tags": "x"}], "tags: expected a list of texts"),
        ([{"word": "a", "wait": "soon"}], 'wait: expected a duration such as 90, "90s", "30m" or "2h"'),
        ([{"word": "a", "wait": 2**63 - 1}], "wait: expected a duration of at most a year"),
        ([{"word": "a", "place": "../up"}], "place: expected a relative path inside the workspace"),
        ([{"word": "a", "place": "/etc"}], "place: expected a relative path inside the workspace"),
        (["a", 1, 2], "takes 2 values, given 3"),
        ([{1: "a"}], "takes a table of named fields"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(args, told):
    assert told in refused(*args)


@given(st.lists(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
), max_size=3))
def test_whatever_a_script_gives_is_bound_or_refused(args):
    for calls in registry.FUNCTIONS.values():
        for declared in calls.values():
            with contextlib.suppress(CallError):
                assert isinstance(declared.bind(args), Call)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(5, 5.0), ("90s", 90.0), ("30m", 1800.0), ("2h", 7200.0), ("1.5m", 90.0), (0, None), ("", None), ("-1s", None),
     (True, None), ("1d", None), (float("inf"), None)],
)
def test_durations_are_read_as_the_language_says(given, seconds):
    assert read_duration(given) == seconds


def test_every_function_says_what_it_does_and_shows_how():
    for calls in registry.FUNCTIONS.values():
        for declared in calls.values():
            assert (declared.__doc__ or "").strip().endswith(".") or "\n" in (declared.__doc__ or "")
            assert declared.title() in declared.example
            assert all(field.description for field in declared.declared.values())


def test_a_table_within_a_call_has_fields_of_its_own():
    assert Opened.bind([{"at": {"line": 3}}]).at.line == 3
    with pytest.raises(CallError, match=r"sample\.open: at: line: expected at least 1, given 0"):
        Opened.bind([{"at": {"line": 0}}])
    with pytest.raises(CallError, match=r"sample\.open: at: expected a table with text keys, given 5"):
        Opened.bind([{"at": 5}])


def test_a_method_takes_its_handle_first():
    assert (Opened.binding, Shut.binding, Shut.function) == ("handle", "call", "open:shut")
    bound = Shut.bind([7, True])
    assert (bound.handle, bound.hard, Shut.bind([7, {"hard": True}]).hard) == (7, True, True)
    for args in ([], ["x"], [True], [None, True]):
        with pytest.raises(CallError, match="h:shut: takes a handle first"):
            Shut.bind(args)


def test_every_function_is_known_to_who_refuses_one_that_is_used_too_early():
    for module, calls in registry.FUNCTIONS.items():
        assert {name for name in calls if ":" not in name} <= set(LANGUAGE[module])
