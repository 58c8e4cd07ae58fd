"""A user id for each workspace, where the runner was started by root; none where it was not."""

import fcntl
import os
from pathlib import Path


class StageUids:
    """Hands out ids from `first` on; Lua children have the last one. Safe among processes."""

    def __init__(self, jobs: Path, first: int, last: int) -> None:
        self._jobs, self._first, self._last = jobs, first, last
        self._by_root = os.geteuid() == 0

    @property
    def of_lua(self) -> int | None:
        return self._last if self._by_root else None

    def of(self, folder: Path) -> int | None:
        """The one the folder has, or the lowest that no other has. Raises OSError if none is left."""
        if not self._by_root:
            return None
        note = folder / "uid"
        if note.exists():
            return int(note.read_text())
        with open(self._jobs / "uids.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            taken = {int(note.read_text()) for note in self._jobs.glob("*/uid")}
            for uid in range(self._first, self._last):
                if uid not in taken:
                    note.write_text(str(uid))
                    return uid
        raise OSError(
            f"every user id of {self._first}-{self._last} has a workspace; widen RIVET_STAGE_UIDS"
        )
