"""A user id for each workspace, where the runner was started by root; none where it was not."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from rivet.runner.notes import read_note, write_note


class StageUids:
    """Hands out ids from `first` on; Lua children have the last one. Safe among processes.

    `by_root`: whether root started the runner; found out if it is not given.
    """

    def __init__(self, jobs: Path, first: int, last: int, *, by_root: bool | None = None) -> None:
        self._jobs, self._first, self._last = jobs, first, last
        self._by_root = os.geteuid() == 0 if by_root is None else by_root

    @property
    def of_lua(self) -> int | None:
        return self._last if self._by_root else None

    def of(self, folder: Path) -> int | None:
        """The one the folder has, or the lowest that no other has. Raises OSError if none is left."""
        if not self._by_root:
            return None
        note = f"{folder}/uid"
        with contextlib.suppress(FileNotFoundError):
            return int(read_note(note))
        with open(self._jobs / "uids.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            taken = set(_noted_in(self._jobs))
            for uid in range(self._first, self._last):
                if uid not in taken:
                    write_note(note, str(uid))
                    return uid
        raise OSError(
            f"every user id of {self._first}-{self._last} has a workspace; widen RIVET_STAGE_UIDS"
        )


def _noted_in(place: Path) -> Iterator[int]:
    """Those of all folders there. One may go while it is looked at: the spooler cleans up beside us.

    There may be hundreds of them, each time that a job is taken: this looks no more than it must.
    """
    for folder in os.listdir(place):
        try:
            note = os.open(f"{place}/{folder}/uid", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            continue
        try:
            yield int(os.read(note, 32))
        finally:
            os.close(note)
