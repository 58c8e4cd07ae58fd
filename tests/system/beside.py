"""Another process of a part that `rivet up` has started, on the same database and broker."""

import subprocess
from collections.abc import Mapping, Sequence

from .rivet_home import RivetHome


def beside(
    home: RivetHome, part: str, argv: Sequence[str], more: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    """With the environment that the first has, and `more`."""
    environment = home.told(part) | dict(more)
    return subprocess.Popen(
        argv, env=environment, cwd=home.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
