"""A job's way to blobs: pieces sent and fetched through the API with the job's ticket, one after another.

What is interrupted goes on with the piece that was on its way: while the API is away the stage waits, and
at most one piece is in memory.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote
from weakref import WeakKeyDictionary

from rivet.blobs.piece import packed, unpacked
from rivet.client import ApiProblem, ApiUnreachable, Client
from rivet.domain.blob import PIECE_BYTES, Manifest, shown_size
from rivet.domain.errors import InvalidInput
from rivet.domain.order import Order
from rivet.modules.contract import CallError

TRIES = 3
SENT_UNASKED_BYTES = 64 * 1024
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 0.5
SAID_AFTER_S, SAID_EVERY_S = 1.0, 5.0

TERMS_S = 60.0

Say = Callable[[str, str], None]
"""A level and a line for the log."""

_TERMS: WeakKeyDictionary[Client, tuple[float, Any]] = WeakKeyDictionary()
"""By client what its API told, and until when that is believed."""


class BlobLink:
    """Asks the API for one job. `title` begins what is said; `go_on` raises where the stage is to stop.

    `patience_s` bounds how long it is waited for an API that is away; None: for as long as it is.
    """

    def __init__(
        self,
        order: Order,
        client: Client,
        title: str,
        say: Say,
        go_on: Callable[[], None],
        patience_s: float | None = None,
    ) -> None:
        self._patience_s = patience_s
        self._client, self._title, self._say, self._go_on = client, title, say, go_on
        self._path = f"/runner/jobs/{order.job}/blobs"
        self._headers = {"Authorization": f"Bearer {order.ticket}"}

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Ask until there is an answer: an API that is away is waited for. Raises CallError if it refuses."""
        try:
            return self._patiently(method, path, body)
        except ApiProblem as problem:
            raise CallError(f"{self._title}: {problem.detail}") from None

    def terms(self, what: str) -> int:
        """The most bytes that one `artifact`, `cache` or `snapshot` may have.

        Asked once in a while: the API keeps to its own when the thing is kept, whatever was told before.
        """
        until, told = _TERMS.get(self._client, (0.0, None))
        if told is None or time.monotonic() > until:
            told = self.call("GET", "")
            _TERMS[self._client] = (time.monotonic() + TERMS_S, told)
        return int(told[f"most_{what}_bytes"])

    def send(self, content: bytes) -> str:
        """A piece; unless it is small it is not sent if it is there already. Its digest."""
        digest = hashlib.sha256(content).hexdigest()
        is_small = len(content) <= SENT_UNASKED_BYTES
        if is_small or self.call("POST", "/pieces/missing", {"digests": [digest]})["missing"]:
            self.call("PUT", f"/pieces/{digest}", packed(content))
        return digest

    def fetch(self, digest: str) -> bytes:
        """A piece, checked against its digest; one that was damaged on its way is fetched again."""
        for _ in range(TRIES):
            answer = self.call("GET", f"/pieces/{quote(digest, safe='')}")
            try:
                content = unpacked(answer if isinstance(answer, bytes) else b"")
            except InvalidInput:
                continue
            if hashlib.sha256(content).hexdigest() == digest:
                return content
        raise CallError(f"{self._title}: a piece of it came damaged {TRIES} times; it was not taken")

    def pieces(self, blob: Manifest) -> Iterator[bytes]:
        """Everything in a blob, in order. Raises CallError at its end if it is not what its digest says."""
        whole = hashlib.sha256()
        for digest in blob.pieces:
            content = self.fetch(digest)
            whole.update(content)
            yield content
        if whole.hexdigest() != blob.sha256:
            raise CallError(f"{self._title}: what came is not what was uploaded: its SHA-256 is another")

    def _patiently(self, method: str, path: str, body: object) -> Any:
        wait_s, told, began = FIRST_WAIT_S, False, time.monotonic()
        while True:
            self._go_on()
            try:
                return self._client.call(method, self._path + path, body, self._headers)
            except ApiProblem as problem:
                if problem.status < 500 and problem.status != 429:
                    raise
                why = problem.detail
            except ApiUnreachable as error:
                why = str(error)
            if self._patience_s is not None and time.monotonic() - began > self._patience_s:
                raise CallError(f"{self._title}: the API took nothing for {self._patience_s:g} s: {why}")
            if not told:
                self._say("warn", f"{self._title}: waiting for the API: {why}")
                told = True
            time.sleep(wait_s)
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)


class Upload:
    """Takes bytes as they come and sends them in pieces. What is over `most_bytes` raises CallError."""

    def __init__(self, link: BlobLink, moved: "Progress", most_bytes: int, too_large: str) -> None:
        self._link, self._moved = link, moved
        self._most_bytes, self._too_large = most_bytes, too_large
        self._waiting = bytearray()
        self._whole = hashlib.sha256()
        self._pieces: list[str] = []
        self._size = 0

    def feed(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._most_bytes:
            raise CallError(self._too_large)
        self._whole.update(data)
        self._waiting += data
        while len(self._waiting) >= PIECE_BYTES:
            self._send(PIECE_BYTES)

    def finish(self) -> Manifest:
        if self._waiting:
            self._send(len(self._waiting))
        return Manifest(self._size, self._whole.hexdigest(), tuple(self._pieces))

    def _send(self, size: int) -> None:
        self._pieces.append(self._link.send(bytes(self._waiting[:size])))
        del self._waiting[:size]
        self._moved.by(size)


class Progress:
    """Says how far something is that takes over a second; `whole` is its size in bytes."""

    def __init__(self, title: str, say: Say, whole: int) -> None:
        self._title, self._say, self._whole = title, say, whole
        self._moved = 0
        self._next = time.monotonic() + SAID_AFTER_S

    def by(self, size: int) -> None:
        self._moved += size
        now = time.monotonic()
        if now >= self._next:
            self._next = now + SAID_EVERY_S
            so_far = min(self._moved, self._whole)
            self._say("info", f"{self._title}: {shown_size(so_far)} of {shown_size(self._whole)}")
