"""Start a program shut in: forked where the kernel lets us, else by bubblewrap."""

import logging
from collections.abc import Sequence

from rivet.sandbox.isolation.built import build
from rivet.sandbox.isolation.namespaces import LAYOUT, Enclosed, Enclosure
from rivet.sandbox.isolation.warm import Builder, CannotBuild
from rivet.sandbox.isolation.wrapped import wrap

_log = logging.getLogger(__name__)
_FLAGS = ("-I", "-S", "-X", "utf8")
_builder = Builder()


def enclose(
    enclosure: Enclosure,
    argv: Sequence[str],
    keep: Sequence[int] = (),
    *,
    is_agent: bool = False,
    builder: Builder = _builder,
) -> Enclosed:
    """Start `argv` as pid 1 of a sandbox; it has the descriptors `keep` under their numbers.

    Where it `is_agent`, argv is a program of ours for the room's Python. The sandbox dies with the calling
    thread, or with the process. Standard input and output are /dev/null. Raises CannotEnclose, and
    NoBubblewrap.
    """
    try:
        return build(enclosure, argv, keep, is_agent=is_agent, builder=builder)
    except CannotBuild as error:
        started = [LAYOUT.python, *_FLAGS, *argv] if is_agent else argv
        enclosed = wrap(enclosure, started, keep)
        _log.warning("rooms are started by bubblewrap, which takes longer: %s", error)
        return enclosed
