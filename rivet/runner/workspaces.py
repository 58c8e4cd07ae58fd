"""Workspaces that travel: from job to job on one runner, and back to how a stage found its own.

A copy is made by `cp`, with shared blocks where the file system can. Nothing runs in what is copied.
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from rivet.domain.ids import JobId, StageKey
from rivet.domain.order import Start
from rivet.runner.folder import JobFolder, remove_tree

COPY_S = 1800.0
KEPT_S = 24 * 3600.0


class WorkspaceLost(Exception):
    """The workspace that a job was to start from is not here any more."""


class Workspaces:
    """Of one runner; `jobs` is its folder of jobs' folders. What is kept for later jobs stands beside it."""

    def __init__(self, jobs: Path) -> None:
        self._jobs = jobs
        self._kept = jobs.parent / "kept"

    def start(self, folder: JobFolder, start: Start, uid_of: Callable[[Path], int | None]) -> None:
        """Give the job a copy of the workspace that another left, of the same user. Raises WorkspaceLost."""
        for _ in range(3):
            source = self._place_of(start)
            if source is None:
                break
            self._same_user(source, folder, uid_of)
            with contextlib.suppress(FileNotFoundError):
                copy(source / "workspace", folder.workspace)
                return
            # It moved while it was copied: from where its job worked to where it is kept.
        raise WorkspaceLost(
            "the workspace that this job goes on from is not on its runner any more: it is kept for "
            f"{KEPT_S / 3600:g} hours at most, and only while the run goes on"
        )

    def keep(self, folder: JobFolder) -> None:
        """The job has ended, and others may start from its workspace."""
        place = self._kept / folder.path.name
        place.mkdir(mode=0o711, parents=True, exist_ok=True)
        # It may have been kept in an earlier epoch, and begun again after that.
        remove_tree(place / "workspace")
        (place / "epoch").write_text(str(max(folder.epochs(), default=0)))
        with contextlib.suppress(FileNotFoundError):
            (folder.path / "uid").rename(place / "uid")
        with contextlib.suppress(FileNotFoundError):
            folder.workspace.rename(place / "workspace")

    def keep_fetched(self, folder: JobFolder, start: Start) -> None:
        """Another job's workspace has come from where it is stored: its next followers copy it from here."""
        place, draft = self._kept / str(start.job), folder.path / "fetched.new"
        if place.exists() and _epoch_of(place) != start.epoch:
            remove_tree(place)
        remove_tree(draft)
        draft.mkdir(mode=0o711)
        copy(folder.workspace, draft / "workspace")
        (draft / "epoch").write_text(str(start.epoch))
        with contextlib.suppress(FileNotFoundError):
            (draft / "uid").write_text((folder.path / "uid").read_text())
        self._kept.mkdir(mode=0o711, parents=True, exist_ok=True)
        try:
            draft.rename(place)
        except OSError:
            # Another slot fetched it at the same time.
            remove_tree(draft)

    def kept(self) -> list[JobId]:
        """Jobs whose workspaces are kept; what is too old is deleted."""
        found = []
        for place in self._kept.glob("*"):
            if time.time() - place.stat().st_mtime > KEPT_S:
                remove_tree(place)
            else:
                found.append(JobId(UUID(place.name)))
        return found

    def let_go(self, job: JobId) -> None:
        remove_tree(self._kept / str(job))

    def _place_of(self, start: Start) -> Path | None:
        """Where it is as the job left it: what is there of another epoch is not what was asked for."""
        kept, folder = self._kept / str(start.job), JobFolder(self._jobs, start.job)
        if _epoch_of(kept) == start.epoch and (kept / "workspace").is_dir():
            return kept
        if folder.epochs()[-1:] == [start.epoch] and folder.workspace.is_dir():
            return folder.path
        return None

    def _same_user(self, source: Path, folder: JobFolder, uid_of: Callable[[Path], int | None]) -> None:
        note = source / "uid"
        if note.exists():
            (folder.path / "uid").write_text(note.read_text())
        uid_of(folder.path)


def _epoch_of(kept: Path) -> int | None:
    try:
        return int((kept / "epoch").read_text())
    except (OSError, ValueError):
        return None


def remember(folder: JobFolder, stage: StageKey) -> None:
    """Keep how the stage found its workspace, until `forget`."""
    place, draft = _snapshot(folder, stage), folder.path / "start.new"
    if place.exists():
        return
    remove_tree(draft)
    copy(folder.workspace, draft)
    draft.rename(place)


def restore(folder: JobFolder, stage: StageKey) -> bool:
    """Put the workspace back to how the stage found it; whether that is known."""
    place = _snapshot(folder, stage)
    if not place.exists():
        return False
    draft = folder.path / "start.new"
    remove_tree(draft)
    copy(place, draft)
    remove_tree(folder.workspace)
    draft.rename(folder.workspace)
    return True


def forget(folder: JobFolder, stage: StageKey) -> None:
    remove_tree(_snapshot(folder, stage))


def copy(source: Path, target: Path) -> None:
    """Copy a folder with all in it, as it is. Raises FileNotFoundError where it is not there, OSError."""
    if not source.is_dir():
        raise FileNotFoundError(source)
    if not any(os.scandir(source)):
        target.mkdir(mode=0o700, parents=True)
        status = source.stat()
        os.chmod(target, status.st_mode & 0o7777)
        if os.geteuid() == 0:
            os.chown(target, status.st_uid, status.st_gid)
        return
    ended = subprocess.run(
        ["cp", "--archive", "--reflink=auto", "--no-target-directory", "--", str(source), str(target)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COPY_S, check=False,
        env={"LC_ALL": "C"},
    )  # fmt: skip
    if ended.returncode != 0:
        remove_tree(target)
        if not source.is_dir():
            raise FileNotFoundError(source)
        raise OSError(f"a workspace could not be copied: {ended.stderr.strip()[-500:]}")


def _snapshot(folder: JobFolder, stage: StageKey) -> Path:
    return folder.path / f"start-of-{stage}"
