"""Work with files that may take long, as a process of its own that the agent forked."""

import posix
import sys

from rivet.sandbox.file_search import digest, glob
from rivet.sandbox.file_trees import copy, remove
from rivet.sandbox.files import QUICK, TOO_MANY

__all__ = ["QUICK", "work"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LONG: "dict[bytes, Callable[..., None]]" = {
    b"remove": remove, b"copy": copy, b"glob": glob, b"digest": digest
}  # fmt: skip


def work(arguments: list[bytes]) -> int:
    """Do something that takes long, in a process of its own; its exit code. What failed is said on 2."""
    sys.setrecursionlimit(10_000)
    try:
        LONG[arguments[0]](*arguments[1:])
    except OSError as error:
        posix.write(2, b"%d %s" % (error.errno or 0, str(error.strerror).encode()))
        return 1
    except RecursionError:
        posix.write(2, b"%d too deep" % TOO_MANY)
        return 1
    return 0
