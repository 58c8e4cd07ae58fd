"""What slots have in hand, and the small notes that a runner keeps."""

import os
import subprocess
import sys

from rivet.runner import holder
from rivet.runner.hands import Hands
from rivet.runner.notes import add_to_note, read_note, write_note

JOB, OTHER = "01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a8058"


def test_a_slot_has_one_job_in_hand_until_its_hand_is_empty(tmp_path):
    hands = Hands(tmp_path)
    assert not hands.hold(JOB)
    hands.take(OTHER)
    hands.take(JOB)
    assert (hands.hold(JOB), hands.hold(OTHER)) == (True, False)
    hands.empty()
    assert not hands.hold(JOB)


def test_what_a_dead_slot_had_in_hand_is_held_by_nobody(tmp_path):
    hands = Hands(tmp_path)
    hands.take(JOB)
    [note] = (tmp_path / "hands").iterdir()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    who = holder.told(dead.pid)
    dead.wait()
    write_note(note, read_note(note).replace(holder.this_process(), who))
    assert not hands.hold(JOB)


def test_a_runner_that_starts_forgets_the_hands_of_before(tmp_path):
    Hands(tmp_path).take(JOB)
    Hands(tmp_path).forget()
    assert not (tmp_path / "hands").exists()
    Hands(tmp_path).forget()


def test_where_nothing_can_be_noted_the_slot_goes_on(tmp_path):
    (tmp_path / "hands").touch()
    Hands(tmp_path).take(JOB)
    Hands(tmp_path).empty()


def test_a_note_is_read_as_it_was_written_however_long_it_is(tmp_path):
    for text in ("", "ä", "x" * 65536, "y" * 200_000):
        write_note(tmp_path / "note", text)
        assert read_note(tmp_path / "note") == text
    write_note(tmp_path / "note", "a\n", 0o600)
    add_to_note(tmp_path / "note", "b\n")
    assert read_note(tmp_path / "note") == "a\nb\n"


def test_a_note_has_the_mode_that_it_was_made_with(tmp_path):
    write_note(tmp_path / "private", "x", 0o600)
    add_to_note(tmp_path / "private too", "x", 0o600)
    assert {os.stat(tmp_path / name).st_mode & 0o777 for name in ("private", "private too")} == {0o600}
