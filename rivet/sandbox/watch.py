"""How much of its limits a room uses: its agent looks several times a second, a little at a time.

Loaded by the agent at the first look, so that short rooms do not pay for it. It imports nothing of ours. It
sees what the agent sees, which nothing in the room can stop or kill.
"""

import posix
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

PAGE = posix.sysconf("SC_PAGE_SIZE")
ENTRIES_A_LOOK = 1000
REST = 20
"""How many times as long as a walk through the files took nothing is walked after it."""
LEAST_REST_S = 2.0
MOST_MEASURING_S = 5.0
"""At the end of a stage: of files that are too many for that, those that were seen count."""


class Watch:
    """Limits in order: processes and threads, bytes of memory, bytes of files; 0 for none.

    `folders` are those whose files count, `pids` says which processes do.
    """

    def __init__(
        self,
        processes: int,
        memory: int,
        files: int,
        folders: "Iterable[bytes]",
        pids: "Callable[[], list[int]]",
    ) -> None:
        self.processes, self.memory, self.files = processes, memory, files
        self._folders, self._pids = list(folders), pids
        self._walk: Iterator[int] | None = None
        self._walk_at = 0.0
        self._spent_s = 0.0

    def look(self) -> "tuple[str, int] | None":
        """What is over its limit, and at what amount. Files are looked at in parts, from look to look."""
        return self._of_processes() or self._of_files()

    def measure(self) -> "tuple[str, int] | None":
        """As `look`, with all files at once."""
        over = self._of_processes()
        if over is None and self.files:
            until = time.monotonic() + MOST_MEASURING_S
            for size in walked(self._folders):
                if size > self.files:
                    return "workspace", size
                if time.monotonic() > until:
                    break
        return over

    def _of_processes(self) -> "tuple[str, int] | None":
        tasks = pages = 0
        for pid in self._pids():
            try:
                # The links of a folder are those of the folders within: one a thread.
                tasks += posix.stat(b"/proc/%d/task" % pid).st_nlink - 2
                fd = posix.open(b"/proc/%d/statm" % pid, posix.O_RDONLY | posix.O_CLOEXEC)
            except OSError:
                continue
            try:
                _, resident, shared = posix.read(fd, 128).split()[:3]
                pages += int(resident) - int(shared)
            except (OSError, ValueError):
                continue
            finally:
                posix.close(fd)
        if self.processes and tasks > self.processes:
            return "processes", tasks
        if self.memory and pages * PAGE > self.memory:
            return "process_memory", pages * PAGE
        return None

    def _of_files(self) -> "tuple[str, int] | None":
        begun = time.monotonic()
        if not self.files or begun < self._walk_at:
            return None
        if self._walk is None:
            self._walk, self._spent_s = walked(self._folders), 0.0
        size = 0
        for _ in range(ENTRIES_A_LOOK):
            step = next(self._walk, None)
            if step is None:
                self._walk = None
                break
            size = step
        now = time.monotonic()
        self._spent_s += now - begun
        if self._walk is None:
            self._walk_at = now + max(LEAST_REST_S, self._spent_s * REST)
        return ("workspace", size) if size > self.files else None


def walked(folders: "Iterable[bytes]") -> "Iterator[int]":
    """Walk through all files of some folders, and say after each how many bytes they hold on the disk so far.

    A file with several names is counted once.
    """
    size = 0
    seen: set[tuple[int, int]] = set()
    left = list(folders)
    while left:
        folder = left.pop()
        entries = _opened(folder)
        if entries is None:
            continue
        with entries:
            while True:
                try:
                    entry = next(entries, None)
                    if entry is None:
                        break
                    status = entry.stat(follow_symlinks=False)
                    is_folder = entry.is_dir(follow_symlinks=False)
                except OSError:
                    continue
                if status.st_nlink > 1 and not is_folder:
                    if (status.st_dev, status.st_ino) in seen:
                        continue
                    seen.add((status.st_dev, status.st_ino))
                size += status.st_blocks * 512
                if is_folder:
                    left.append(entry.path)
                yield size


def _opened(folder: bytes) -> "Any":
    """What is in a folder; one that its owner has closed to itself is opened for as long as that takes."""
    try:
        return posix.scandir(folder)
    except PermissionError:
        pass
    except OSError:
        return None
    try:
        mode = posix.lstat(folder).st_mode & 0o7777
        posix.chmod(folder, mode | 0o700)
        try:
            return posix.scandir(folder)
        finally:
            posix.chmod(folder, mode)
    except OSError:
        return None
