"""A note in a runner's folder that says that it is paused: its spooler writes it, its parent reads it."""

from pathlib import Path


class PauseNote:
    """`folder` is the runner's."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "paused"

    def write(self, is_paused: bool) -> None:
        """Raises OSError where the disk takes no note."""
        if is_paused:
            self._path.touch(mode=0o600)
        else:
            self._path.unlink(missing_ok=True)

    def is_there(self) -> bool:
        return self._path.exists()
