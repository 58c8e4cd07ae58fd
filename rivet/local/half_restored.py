"""A restore that was cut off: a mark in the home tells of it, set before anything is touched.

Whoever restores holds the mark locked, and the lock ends with the process. So a mark that nobody holds is of
a restore that was killed: nobody has worked with what it left, and that goes when it is begun anew.
"""

import fcntl
import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from rivet.local.home import Home, HomeUnusable, write_private
from rivet.local.processes import end_all, working_in

_PATIENCE_S = 10.0


def was_cut_off(home: Home) -> bool:
    """Raises HomeUnusable where a restore into it goes on."""
    try:
        handle = os.open(home.restoring, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise HomeUnusable(f"a `rivet restore` into {home.path} goes on; wait until it has ended") from None
    finally:
        os.close(handle)
    return True


def refuse_half_restored(home: Home) -> None:
    """Raises HomeUnusable where a restore into it goes on, or was cut off."""
    if was_cut_off(home):
        raise HomeUnusable(
            f"a `rivet restore` into {home.path} was cut off: give `rivet restore FILE` again, which removes "
            "what is half there and starts over"
        )


@contextmanager
def restoring(home: Home, *, embedded: bool) -> Iterator[None]:
    """Mark the home until all is there. What fails is cleared away; what is killed leaves the mark.

    `embedded`: the database is in the home. Raises HomeUnusable.
    """
    home.prepare()
    write_private(home.restoring, json.dumps({"had_key": home.secret_key.exists()}) + "\n")
    handle = os.open(home.restoring, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            yield
        except BaseException:
            clear_away(home, embedded=embedded)
            raise
        home.restoring.unlink()
    finally:
        os.close(handle)


def clear_away(home: Home, *, embedded: bool) -> None:
    """What a restore has made in the home, its mark last. A database elsewhere has nothing of it."""
    if embedded:
        end_all(working_in(home.postgresql, "postgres"), signal.SIGINT, _PATIENCE_S)
        shutil.rmtree(home.postgresql, ignore_errors=True)
    shutil.rmtree(home.path / "artifacts", ignore_errors=True)
    if not _had_key(home):
        home.secret_key.unlink(missing_ok=True)
    home.restoring.unlink(missing_ok=True)


def _had_key(home: Home) -> bool:
    """Was there a key before? Where that cannot be told it is not touched."""
    try:
        return bool(json.loads(home.restoring.read_text())["had_key"])
    except (OSError, ValueError, KeyError, TypeError):
        return True
