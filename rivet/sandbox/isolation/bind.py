"""What a room sees of the host besides its own folders."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or folder of the host, seen in the room under `target`; read-only unless `writable`.

    With `is_link` it is a link of the room itself, and `source` what it says. A room without files of its
    own (levels `landlock` and `none`) sees `source` where it is.
    """

    source: Path
    target: str
    writable: bool = False
    is_link: bool = False
