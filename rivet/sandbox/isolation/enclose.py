"""Start a program shut in: forked where the kernel lets us, else by bubblewrap."""

import contextlib
import logging
from collections.abc import Sequence

from rivet.sandbox.isolation.built import Building
from rivet.sandbox.isolation.enclosure import CannotEnclose
from rivet.sandbox.isolation.namespaces import LAYOUT, Enclosed, Enclosure
from rivet.sandbox.isolation.warm import Builder, CannotBuild
from rivet.sandbox.isolation.wrapped import wrap

_log = logging.getLogger(__name__)
_FLAGS = ("-I", "-S", "-X", "utf8")
_builder = Builder()


class Enclosing:
    """A sandbox that is being made, with `argv` as its pid 1, which has the descriptors `keep` as they are.

    Where it `is_agent`, argv is a program of ours for the room's Python. The descriptors are to stay open
    until the sandbox `stands`, or is given up: one of both.
    """

    def __init__(
        self,
        enclosure: Enclosure,
        argv: Sequence[str],
        keep: Sequence[int] = (),
        *,
        is_agent: bool = False,
        builder: Builder | None = None,
    ) -> None:
        """Begin, without waiting; a builder that is not warm is waited for."""
        self._enclosure, self._keep = enclosure, keep
        self._argv = [LAYOUT.python, *_FLAGS, *argv] if is_agent else argv
        self._building: Building | None = None
        self._why: CannotBuild | None = None
        try:
            self._building = Building(
                enclosure, argv, keep, is_agent=is_agent, builder=_builder if builder is None else builder
            )
        except CannotBuild as error:
            self._why = error

    def stands(self) -> Enclosed:
        """The sandbox. It dies with the calling thread, or with the process. Standard input and output are
        /dev/null. Raises CannotEnclose, and NoBubblewrap.
        """
        if self._building is not None:
            try:
                return self._building.stands()
            except CannotBuild as error:
                self._why = error
        enclosed = wrap(self._enclosure, self._argv, self._keep)
        _log.warning("rooms are started by bubblewrap, which takes longer: %s", self._why)
        return enclosed

    def give_up(self) -> None:
        """End it, as nobody needs it."""
        if self._building is not None:
            with contextlib.suppress(CannotEnclose), self._building.stands():
                pass


def enclose(
    enclosure: Enclosure, argv: Sequence[str], keep: Sequence[int] = (), builder: Builder | None = None
) -> Enclosed:
    """Start `argv` as pid 1 of a sandbox. Raises CannotEnclose, and NoBubblewrap."""
    return Enclosing(enclosure, argv, keep, builder=builder).stands()
