"""What each slot of a runner has in hand: one small note a slot, for as long as the slot lives.

It is written over in place, each time with as many bytes: a file made and deleted for each job would cost the
disk more than most of what is noted of a stage.
"""

import contextlib
import os
import shutil
from pathlib import Path

from rivet.runner import holder
from rivet.runner.notes import read_note

_WIDTH = 80
_NOTHING = " " * _WIDTH


class Hands:
    """Of the slots that work on jobs in the folder `jobs`. A dead slot's hand holds nothing."""

    def __init__(self, jobs: Path) -> None:
        self._place = f"{jobs}/hands"

    def take(self, job: str) -> None:
        """This process has the job in hand, and no other."""
        self._note(f"{holder.this_process()} {job}".ljust(_WIDTH))

    def empty(self) -> None:
        self._note(_NOTHING)

    def hold(self, job: str) -> bool:
        """Does a slot that lives have it in hand? Reads only."""
        try:
            slots = os.listdir(self._place)
        except FileNotFoundError:
            return False
        for slot in slots:
            with contextlib.suppress(OSError):
                who, _, what = read_note(f"{self._place}/{slot}").strip().rpartition(" ")
                if what == job and holder.is_alive(who):
                    return True
        return False

    def forget(self) -> None:
        """Nobody works here yet: what slots of before had in hand is not told any more."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._place)

    def _note(self, text: str) -> None:
        """As well as may be: who cannot note it goes on, and is seen by what else is noted of a job."""
        with contextlib.suppress(OSError):
            fd = self._opened()
            try:
                os.pwrite(fd, text.encode(), 0)
            finally:
                os.close(fd)

    def _opened(self) -> int:
        note, how = f"{self._place}/{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(note, how, 0o600)
        except FileNotFoundError:
            os.makedirs(self._place, mode=0o700, exist_ok=True)
            return os.open(note, how, 0o600)
