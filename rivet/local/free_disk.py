"""A disk that is full is told before anything is started on it, not by whichever part meets it first."""

import shutil

from rivet.local.home import Home, HomeUnusable

NEW_MIB, KNOWN_MIB = 64, 16
"""What an embedded PostgreSQL takes when it is made (40 MiB) and more; what a start takes."""


def require_free_disk(home: Home, *, embedded: bool) -> None:
    """Raises HomeUnusable. `embedded`: PostgreSQL is in the home."""
    is_new = embedded and not home.postgresql.exists()
    needed = NEW_MIB if is_new else KNOWN_MIB
    free = shutil.disk_usage(home.path).free // 2**20
    if free < needed:
        what = "a new home" if is_new else "a start"
        raise HomeUnusable(
            f"the disk of {home.path} has {free} MiB left, and {what} takes {needed}: make room on it, "
            "or set RIVET_HOME to a folder of another disk"
        )
