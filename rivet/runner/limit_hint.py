"""What a command's last lines tell of a limit that only the system's calls know: it fails by itself then."""

import re
from collections.abc import Sequence

from rivet.domain.limits import Limits, OverLimit

_SAID = {
    "open_files": re.compile(r"too many open files|\bEMFILE\b", re.IGNORECASE),
    "processes": re.compile(
        r"can't start new thread|cannot fork|\bfork:|resource temporarily unavailable|\bEAGAIN\b"
        r"|unable to create (native )?thread|cannot create thread",
        re.IGNORECASE,
    ),
}


def limit_hint(tail: Sequence[str], limits: Limits) -> OverLimit | None:
    """The limit that a command which failed with these last lines seems to have run into."""
    for name, said in _SAID.items():
        if any(said.search(line) for line in tail):
            return OverLimit(name, getattr(limits, name))
    return None
