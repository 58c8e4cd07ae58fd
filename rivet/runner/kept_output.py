"""What is kept of a command's output beside the log: all of it for a script that captures, and its end."""

from collections import deque

from rivet.domain.log import encode_line

MAX_CAPTURE_BYTES = 1024 * 1024
TAIL_LINES = 12
TAIL_BYTES = 4096


class Kept:
    """Of one command. With `capture` the first 1 MiB of each stream."""

    def __init__(self, capture: bool) -> None:
        self._room = {"stdout": MAX_CAPTURE_BYTES * capture, "stderr": MAX_CAPTURE_BYTES * capture}
        self._parts: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        self._tail: deque[bytes] = deque(maxlen=2)

    def keep(self, stream: str, data: bytes) -> None:
        if left := self._room[stream]:
            self._parts[stream].append(data[:left])
            self._room[stream] -= len(self._parts[stream][-1])
        self._tail.append(data[-TAIL_BYTES:])

    @property
    def size(self) -> int:
        """Bytes that are held for a script."""
        return sum(len(part) for parts in self._parts.values() for part in parts)

    def captured(self, stream: str) -> bytes:
        return b"".join(self._parts[stream])

    def last_lines(self) -> list[str]:
        lines = b"".join(self._tail).rstrip(b"\n").split(b"\n")[-TAIL_LINES:]
        return [encode_line(line) for line in lines if line]
