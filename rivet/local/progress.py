"""How far something is that takes longer than a second."""

import time

from rivet.domain.blob import shown_size
from rivet.local.told import tell

FIRST_S, EVERY_S = 1.0, 2.0


class Progress:
    """Hears of bytes as they are done with, and tells people now and then."""

    def __init__(self, what: str, *, quiet: bool) -> None:
        self._what, self._quiet = what, quiet
        self._bytes = 0
        self._tell_at = time.monotonic() + FIRST_S

    def __call__(self, name: str, count: int) -> None:
        self._bytes += count
        if not self._quiet and time.monotonic() > self._tell_at:
            self._tell_at = time.monotonic() + EVERY_S
            place = "/".join(name.split("/")[:2]) if name.startswith("tables/") else name.split("/")[0]
            tell(f"{self._what}: {place}, {shown_size(self._bytes)} so far")
