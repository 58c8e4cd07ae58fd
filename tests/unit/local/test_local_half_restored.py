"""A home in which a restore goes on, was cut off, or failed."""

import os

import pytest

from rivet.local.half_restored import clear_away, refuse_half_restored, restoring, was_cut_off
from rivet.local.home import Home, HomeUnusable


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


def fill_in_vain(home):
    for name in ("postgresql/base", "artifacts/ab"):
        (home.path / name).mkdir(parents=True)
    home.secret_key.write_text("of the backup\n")
    raise OSError("no room")


def test_a_home_without_a_mark_is_like_any_other(home, tmp_path):
    assert not was_cut_off(home)
    (tmp_path / "file").write_text("")
    assert not was_cut_off(Home(tmp_path / "file"))
    refuse_half_restored(home)


def test_while_it_goes_on_nobody_else_begins(home):
    with restoring(home, embedded=True):
        for ask in (was_cut_off, refuse_half_restored):
            with pytest.raises(HomeUnusable, match="goes on"):
                ask(home)
    assert not home.restoring.exists()


def test_one_that_fails_leaves_nothing(home):
    with pytest.raises(OSError, match="no room"), restoring(home, embedded=True):
        fill_in_vain(home)
    assert not was_cut_off(home)
    for gone in (home.postgresql, home.path / "artifacts", home.secret_key):
        assert not gone.exists()


@pytest.mark.parametrize("had_key", [False, True])
def test_one_that_was_killed_is_told_and_cleared_away_but_for_what_was_there_before(home, had_key):
    home.prepare()
    if had_key:
        home.secret_key.write_text("of before\n")
    child = os.fork()
    if child == 0:
        with restoring(home, embedded=True):
            if not had_key:
                home.secret_key.write_text("of the backup\n")
            (home.path / "artifacts").mkdir()
            os._exit(9)  # as if it was killed: nothing of ours is done any more
    os.waitpid(child, 0)
    assert was_cut_off(home)
    with pytest.raises(HomeUnusable, match="give `rivet restore FILE` again"):
        refuse_half_restored(home)
    clear_away(home, embedded=True)
    assert not was_cut_off(home)
    assert not (home.path / "artifacts").exists()
    assert home.secret_key.exists() == had_key
