"""Levels of isolation: a runner works at the one it was told or not at all, and pipelines may ask for more."""

import pytest

from rivet.domain.isolation import LEVELS, Isolation, NotHad, chosen, is_below

GOOD = Isolation("namespaces", "bubblewrap 0.11")
BAD = Isolation("none", "bubblewrap starts no room here", "Switch user namespaces on")


@pytest.mark.parametrize("asked", ["auto", "namespaces"])
def test_a_machine_that_gives_it_is_taken(asked):
    assert chosen(asked, GOOD) == "namespaces"


@pytest.mark.parametrize("asked", ["auto", "namespaces"])
def test_a_machine_that_does_not_give_it_is_refused_with_what_would_mend_it(asked):
    with pytest.raises(NotHad, match=r"starts no room here\. Switch user namespaces on"):
        chosen(asked, BAD)


@pytest.mark.parametrize("asked", ["container", "landlock", "none"])
def test_levels_that_are_not_there_yet_are_refused_whatever_the_machine_gives(asked):
    for found in (GOOD, BAD):
        with pytest.raises(NotHad, match=f'no level "{asked}".*by namespaces'):
            chosen(asked, found)


def test_a_word_that_is_no_level_is_told_the_levels():
    with pytest.raises(NotHad, match='one of auto, container, namespaces, landlock, none, given "vm"'):
        chosen("vm", GOOD)


def test_levels_have_an_order():
    for at, level in enumerate(LEVELS):
        assert [is_below(level, least) for least in LEVELS] == [number > at for number in range(len(LEVELS))]
        assert not is_below(level, None)
    assert is_below("something else", "none")
