"""A sandbox whose pid 1 is forked from a warm process, the builder, instead of being started anew.

What a room is made of is given in memory that only the room's own fork reads.
"""

import marshal
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from rivet.sandbox.isolation.bind import Bind
from rivet.sandbox.isolation.builder import STANDS
from rivet.sandbox.isolation.enclosure import END_WAIT_S, Complaints, KilledEarly
from rivet.sandbox.isolation.namespaces import (
    HOME,
    SHM_BYTES,
    TMP_BYTES,
    WORKSPACE,
    Enclosed,
    Enclosure,
)
from rivet.sandbox.isolation.shut_in import LINK, READ, WRITE
from rivet.sandbox.isolation.system import ROOM_UID
from rivet.sandbox.isolation.warm import Builder, CannotBuild

_FOLDERS = ("/etc", "/home", "/var", HOME)
_LINKS = (Bind(Path("/tmp"), "/var/tmp", is_link=True),)  # noqa: S108


class Building:
    """A sandbox that the builder is making: `stands` waits for it.

    Its pid 1 has the descriptors `keep` under their numbers, and /dev/null as standard input and output. Its
    program is `argv`: an agent has no need to be started. It dies with the builder, and so with us.
    """

    def __init__(
        self,
        enclosure: Enclosure,
        argv: Sequence[str],
        keep: Sequence[int],
        *,
        is_agent: bool,
        builder: Builder,
    ) -> None:
        """Ask for it, without waiting. Raises CannotBuild."""

        def told(common: Mapping[str, bytes]) -> bytes:
            more = {"keep": [*keep], "argv": [*argv], "is_agent": is_agent}
            return marshal.dumps({**_parts(enclosure, common), **more})

        self._complaints = Complaints("room-errors")
        self._answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                builder.ask(enclosure.common(), told, [theirs.fileno(), self._complaints.fd, *keep])
        except BaseException:
            self._answers.close()
            self._complaints.close()
            raise

    def stands(self) -> Enclosed:
        """The sandbox, once its pid 1 is shut in. To be called once. Raises CannotBuild, KilledEarly."""
        try:
            with self._answers:
                return Enclosed(_answer(self._answers, self._complaints), self._complaints)
        except BaseException:
            self._complaints.close()
            raise


def _parts(enclosure: Enclosure, common: Mapping[str, bytes]) -> dict[str, object]:
    """What the room is made of, as `shut_in.Parts` reads it."""
    shown = [
        (os.fsencode(bind.source), os.fsencode(bind.target), _kind(bind))
        for bind in (*_LINKS, *enclosure.shown())
    ]
    files = {
        os.fsencode(path): None if common.get(path) == content else content
        for path, content in enclosure.contents().items()
    }
    return {
        "uid": enclosure.uid,
        "hostname": enclosure.hostname.encode(),
        "open_files": enclosure.open_files,
        "shown": shown,
        "folders": [folder.encode() for folder in _FOLDERS],
        "files": files,
        "tmp": TMP_BYTES,
        "shm": SHM_BYTES,
        "room_uid": ROOM_UID,
        "cwd": WORKSPACE.encode(),
    }


def _kind(bind: Bind) -> str:
    return LINK if bind.is_link else WRITE if bind.writable else READ


def _answer(answers: socket.socket, complaints: Complaints) -> int:
    """The descriptor of the room's pid 1, once it is shut in. Raises CannotBuild, KilledEarly."""
    answers.settimeout(END_WAIT_S)
    try:
        said, descriptors, _, _ = socket.recv_fds(answers, len(STANDS), 1)
    except OSError as error:
        raise CannotBuild(f"the room did not stand within {END_WAIT_S:g} s: {error}") from error
    if said == STANDS and descriptors:
        return descriptors[0]
    if why := complaints.text():
        raise CannotBuild(f"the room did not stand: {why}")
    raise KilledEarly("the room was ended before it stood")
