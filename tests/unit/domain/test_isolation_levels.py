"""Levels of isolation: a runner works at the one it was told or not at all, and pipelines may ask for more."""

import pytest

from rivet.domain.isolation import BY_AUTO, LEVELS, NotHad, Trial, chosen, is_below, warning


def on_a_machine_with(*levels: str):
    """Tries levels of which only these hold."""
    return lambda level: Trial(level, level in levels, f"{level} was tried", "" if level in levels else f"Mend {level}.")


def test_auto_takes_the_strongest_that_holds_and_tells_what_it_missed():
    best = chosen("auto", on_a_machine_with("namespaces", "landlock"))
    assert (best.level, best.missed) == ("namespaces", ())
    next_best = chosen("auto", on_a_machine_with("landlock"))
    assert (next_best.level, [missed.level for missed in next_best.missed]) == ("landlock", ["namespaces"])


def test_auto_is_never_none():
    assert "none" not in BY_AUTO
    with pytest.raises(NotHad, match=r"namespaces: namespaces was tried; landlock: .* Mend namespaces\. Mend landlock\."):
        chosen("auto", on_a_machine_with("none"))


@pytest.mark.parametrize("asked", ["namespaces", "landlock", "none"])
def test_the_level_that_was_asked_for_is_taken_and_no_other_is_tried(asked):
    taken = chosen(asked, on_a_machine_with(asked))
    assert (taken.level, taken.detail) == (asked, f"{asked} was tried")
    others = [level for level in LEVELS if level != asked]
    with pytest.raises(NotHad, match=rf"{asked} was tried\. Mend {asked}"):
        chosen(asked, on_a_machine_with(*others))


def test_only_none_is_to_be_said_loudly():
    assert [level for level in LEVELS if warning(level)] == ["none"]
    assert "nothing shuts this runner's stages in" in warning("none")


def test_a_level_that_is_not_there_yet_is_refused_whatever_the_machine_gives():
    with pytest.raises(NotHad, match=r'no level "container".*by namespaces or landlock'):
        chosen("container", on_a_machine_with(*LEVELS))


def test_a_word_that_is_no_level_is_told_the_levels():
    with pytest.raises(NotHad, match='one of auto, container, namespaces, landlock, none, given "vm"'):
        chosen("vm", on_a_machine_with(*LEVELS))


def test_levels_have_an_order():
    for at, level in enumerate(LEVELS):
        assert [is_below(level, least) for least in LEVELS] == [number > at for number in range(len(LEVELS))]
        assert not is_below(level, None)
    assert is_below("something else", "none")
