"""Who holds a thing on this machine: a process by its id and start time. A zombie holds nothing."""

import functools
import os

from rivet.runner.notes import read_note


def this_process() -> str:
    return _known(os.getpid())


@functools.lru_cache(maxsize=1)
def _known(pid: int) -> str:
    """Our own start time does not change; after a fork the process is another."""
    return told(pid)


def told(pid: int) -> str:
    return f"{pid} {_start_time(pid)}"


def is_alive(holder: str) -> bool:
    """Does the very process still live that `told` named?"""
    pid, _, start = holder.strip().partition(" ")
    return bool(start) and pid.isdigit() and start != "0" and _start_time(int(pid)) == start


def _start_time(pid: int) -> str:
    """The start time in clock ticks since boot; "0" where the process is gone, or dead and not yet reaped."""
    try:
        stat = read_note(f"/proc/{pid}/stat")
    except OSError:
        return "0"
    fields = stat.rpartition(")")[2].split()
    return "0" if fields[0] in ("Z", "X") else fields[19]
