"""Workspaces that jobs left on a runner: where later jobs and reruns start from, and what makes room."""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from rivet.domain.ids import JobId
from rivet.domain.order import HandsOn, Start
from rivet.domain.runner import KeepingRule
from rivet.runner.folder import JobFolder, remove_tree
from rivet.runner.found import FoundWorkspaces
from rivet.runner.tree import TooDeep, size_of
from rivet.runner.tree_copy import plain_copy

COPY_S = 1800.0
MOST_PLACES = 2000
"""Jobs of which something is kept: each takes a look at every heartbeat."""
MOST_AT_ONCE = 1000


class WorkspaceLost(Exception):
    """The workspace that a job was to start from is not here any more."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """`at` is when the job ended here, in seconds since 1970; `is_fetched`: it came from the server."""

    at: float
    size: int
    is_fetched: bool = False


@dataclass
class Workspaces:
    """Of one runner; `jobs` is its folder of jobs' folders. What is kept stands beside it."""

    jobs: Path
    _kept: Path = field(init=False)
    _known: dict[str, _Kept] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._kept = self.jobs.parent / "kept"

    def start(self, folder: JobFolder, start: Start, uid_of: Callable[[Path], int | None]) -> None:
        """Give the job the workspace that another left, or that a stage of it found. Raises WorkspaceLost."""
        owner = uid_of(folder.path)
        for _ in range(3):
            source = self._place_of(start)
            if source is None:
                break
            with contextlib.suppress(FileNotFoundError):
                if start.found_by is None:
                    _copy(source / "workspace", folder.workspace, owner)
                    return
                if self._as_found(source, folder, start, owner):
                    return
            # It moved while it was copied: from where its job worked to where it is kept.
            remove_tree(folder.workspace)
        raise WorkspaceLost(
            "the workspace that this job goes on from is not on its runner any more: "
            "RIVET_KEPT_HOURS and RIVET_KEPT_MIB say how long and how much is kept"
        )

    def keep(self, folder: JobFolder, hands_on: HandsOn) -> None:
        """The job has ended: others may start from its workspace, and reruns from what its stages found.

        Where nobody starts from what it left, that is kept as a spare: a rerun can have it as its own.
        """
        place = self._kept / folder.path.name
        self._make_kept()
        place.mkdir(mode=0o700, exist_ok=True)
        # It may have been kept in an earlier epoch, and begun again after that.
        for name in ("workspace", "found"):
            remove_tree(place / name)
        self._known.pop(place.name, None)
        (place / "epoch").write_text(str(max(folder.epochs(), default=0)))
        (place / "spare").unlink(missing_ok=True)
        if hands_on is HandsOn.NOTHING:
            (place / "spare").touch()
        FoundWorkspaces(folder.path).move_to(place)
        for name in ("note", "workspace"):
            with contextlib.suppress(FileNotFoundError):
                (folder.path / name).rename(place / name)
        if not (place / "note").exists():
            _note(place, time.time(), 0)

    def keep_fetched(self, folder: JobFolder, start: Start) -> None:
        """Another job's workspace has come from where it is stored: its next followers copy it from here."""
        place, draft = self._kept / str(start.job), folder.path / "fetched.new"
        if place.exists() and _epoch_of(place) != start.epoch:
            remove_tree(place)
        remove_tree(draft)
        draft.mkdir(mode=0o700)
        _copy(folder.workspace, draft / "workspace", None)
        (draft / "epoch").write_text(str(start.epoch))
        _note(draft, time.time(), size_of(draft / "workspace"), is_fetched=True)
        self._make_kept()
        try:
            draft.rename(place)
        except OSError:
            # Another slot fetched it at the same time.
            remove_tree(draft)

    def too_much(self, rule: KeepingRule) -> list[JobId]:
        """The jobs of which nothing is to be kept any more, if their runs have ended: the oldest first."""
        kept = self._all()
        oldest_first = sorted(kept, key=lambda name: kept[name].at)
        size, count, now = sum(one.size for one in kept.values()), len(kept), time.time()
        found = []
        for name in oldest_first:
            old = now - kept[name].at > rule.longest_s
            if not old and size <= rule.most_bytes and count <= MOST_PLACES:
                break
            found.append(JobId(UUID(name)))
            size, count = size - kept[name].size, count - 1
        return found[:MOST_AT_ONCE]

    def let_go(self, job: JobId) -> None:
        """Nothing of the job is needed any more."""
        one = self._all().get(str(job))
        if one is not None and not one.is_fetched:
            self._note_since(one.at)
        self._known.pop(str(job), None)
        remove_tree(self._kept / str(job))

    def since_s(self) -> float:
        """How many seconds back all is here that jobs have left; since now, where it was never noted."""
        try:
            since = float((self._kept / "since").read_text())
        except (OSError, ValueError):
            since = time.time()
            self._note_since(since)
        return max(0.0, time.time() - since)

    def _make_kept(self) -> None:
        """No stage's user gets in: the user ids of what is kept may be those of other workspaces by now."""
        self._kept.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._kept.chmod(0o700)

    def _note_since(self, at: float) -> None:
        self._make_kept()
        with contextlib.suppress(OSError, ValueError):
            at = max(at, float((self._kept / "since").read_text()))
        draft = self._kept / "since.new"
        draft.write_text(repr(at))
        draft.rename(self._kept / "since")

    def _all(self) -> dict[str, _Kept]:
        """All that is kept, by the job's id; each is read once."""
        names = set()
        with contextlib.suppress(FileNotFoundError):
            names = {entry.name for entry in os.scandir(self._kept) if entry.is_dir()}
        for gone in self._known.keys() - names:
            del self._known[gone]
        for name in names - self._known.keys():
            self._known[name] = _noted(self._kept / name)
        return self._known

    def _as_found(self, source: Path, folder: JobFolder, start: Start, owner: int | None) -> bool:
        """As the stage found it. A spare workspace is taken and put right: most of it is as it was."""
        assert start.found_by is not None
        if (source / "spare").exists() or self._is_spare(JobFolder(self.jobs, start.job), source):
            with contextlib.suppress(OSError):
                (source / "workspace").rename(folder.workspace)
        found = FoundWorkspaces(source)
        return found.bring_to(FoundWorkspaces(folder.path), start.found_by, folder.workspace, owner)

    def _is_spare(self, ended: JobFolder, source: Path) -> bool:
        """Of a job that has just ended, and is yet to be let go of: whether nobody goes on from it."""
        if source != ended.path:
            return False
        order = ended.order(max(ended.epochs()))
        return order is not None and order.hands_on is HandsOn.NOTHING

    def _place_of(self, start: Start) -> Path | None:
        """Where it is as the job left it: what is there of another epoch is not what was asked for.

        How a stage found it stays, if the job was begun again behind that stage.
        """
        kept, folder = self._kept / str(start.job), JobFolder(self.jobs, start.job)
        here, there = _epoch_of(kept), max(folder.epochs(), default=0)
        if start.found_by is not None:
            if here >= start.epoch:
                return kept
            return folder.path if there >= start.epoch else None
        if here == start.epoch and (kept / "workspace").is_dir() and not (kept / "spare").exists():
            return kept
        if there == start.epoch and folder.workspace.is_dir():
            return folder.path
        return None


def note_end(folder: JobFolder) -> None:
    """Note when the job ended, and how much is left of it, for whoever makes room."""
    _note(folder.path, time.time(), size_of(folder.workspace) + FoundWorkspaces(folder.path).size)


def _note(place: Path, at: float, size: int, *, is_fetched: bool = False) -> None:
    (place / "note").write_text(json.dumps({"at": at, "size": size, "is_fetched": is_fetched}))


def _noted(place: Path) -> _Kept:
    try:
        return _Kept(**json.loads((place / "note").read_text()))
    except (OSError, ValueError, TypeError):
        # Of an earlier version, or half gone.
        with contextlib.suppress(OSError):
            return _Kept(place.stat().st_mtime, 0)
        return _Kept(0.0, 0)


def _epoch_of(kept: Path) -> int:
    """In which the job left it; 0 where nothing is kept."""
    try:
        return int((kept / "epoch").read_text())
    except (OSError, ValueError):
        return 0


def _copy(source: Path, target: Path, owner: int | None) -> None:
    """Copy a workspace for `owner`. Raises FileNotFoundError where it is not there, OSError."""
    try:
        plain_copy(source, target, owner)
    except TooDeep:
        remove_tree(target)
        _copy_by_command(source, target, owner)


def _copy_by_command(source: Path, target: Path, owner: int | None) -> None:
    """However deep it is."""
    commands = [
        ["cp", "--archive", "--reflink=auto", "--no-target-directory", "--", str(source), str(target)]
    ]
    if owner is not None:
        commands.append(["chown", "--recursive", "--no-dereference", f"{owner}:{owner}", "--", str(target)])
    for command in commands:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COPY_S, check=False,
            env={"LC_ALL": "C"},
        )  # fmt: skip
        if ended.returncode != 0:
            remove_tree(target)
            if not source.is_dir():
                raise FileNotFoundError(source)
            raise OSError(f"a workspace could not be copied: {ended.stderr.strip()[-500:]}")
