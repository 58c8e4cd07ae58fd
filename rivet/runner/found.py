"""How the stages of a job found their workspace: kept for retries, and for reruns from a stage on.

Each is a copy with an index (`tree_copy`). A file that has not changed since the copy before is linked from
it; where nothing has changed at all, the copy before stands for this one as well.
"""

import contextlib
import os
import shutil
from pathlib import Path

from rivet.domain.ids import StageKey
from rivet.runner.folder import remove_tree
from rivet.runner.notes import read_note
from rivet.runner.tree import Index, is_empty, is_still, look_at
from rivet.runner.tree_copy import put_back, take

EMPTY, KEPT = "empty", "kept"
LEAST_FREE = 1024 * 1024 * 1024
"""Bytes that a disk must have left for what only a rerun would need."""
_DRAFT = ".new"


class CannotKeep(Exception):
    """How a stage found its workspace cannot be kept; the message says why."""


class FoundWorkspaces:
    """Of one job: `place` is its folder, or where it is kept when it has ended."""

    def __init__(self, place: Path) -> None:
        self._place = place / "found"

    def note(
        self, stage: StageKey, workspace: Path, *, is_needed: bool, most_bytes: int = 2**62
    ) -> str:
        """Keep how a stage finds its workspace, and say what that is: `kept` or `empty`.

        Where it `is_needed`, so that the stage can be tried again, an empty one is kept as well; else no more
        is when `most_bytes` of the job are kept. Nobody may work in it meanwhile. Raises CannotKeep.
        """
        how = EMPTY if is_empty(workspace) else KEPT
        if (how == EMPTY and not is_needed) or self._of(stage) is not None:
            return how
        if not is_needed:
            self._refuse_full(workspace, most_bytes)
        draft = self._place / _DRAFT
        try:
            remove_tree(draft)
            self._keep(stage, workspace, draft)
        except OSError as error:
            remove_tree(draft)
            raise CannotKeep(error.strerror or str(error)) from error
        return how

    def _refuse_full(self, workspace: Path, most_bytes: int) -> None:
        if self.size >= most_bytes:
            raise CannotKeep("as much is kept of this job as RIVET_KEPT_MIB allows in all")
        if shutil.disk_usage(workspace).free < LEAST_FREE:
            raise CannotKeep("the runner's disk has less than 1 GiB left")

    def bring_back(self, stage: StageKey, workspace: Path, owner: int | None) -> bool:
        """Put the workspace back to how the stage found it; whether that is known. Raises OSError."""
        return self._bring(stage, workspace, owner, self)

    def bring_to(self, other: "FoundWorkspaces", stage: StageKey, workspace: Path, owner: int | None) -> bool:
        """Lay it out for another job, whose stage finds it so; whether it is known. Raises OSError."""
        return self._bring(stage, workspace, owner, other)

    def forget(self, stage: StageKey) -> None:
        remove_tree(self._place / stage)

    def forget_all(self) -> None:
        remove_tree(self._place)

    @property
    def is_there(self) -> bool:
        return self._place.is_dir()

    @property
    def size(self) -> int:
        """Bytes that all of it takes, about."""
        try:
            return int(read_note(f"{self._place}/size"))
        except (OSError, ValueError):
            return 0

    def move_to(self, place: Path) -> None:
        """To where it is kept."""
        with contextlib.suppress(FileNotFoundError):
            self._place.rename(place / "found")

    def _keep(self, stage: StageKey, workspace: Path, draft: Path) -> None:
        self._place.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.mkdir(mode=0o700)
        last = self._last()
        known = None if last is None else Index.read(last / "index")
        if last is not None and known is not None and is_still(workspace, known):
            (draft / "as").write_text(last.name)
        else:
            before = None if last is None else last / "tree"
            index = take(workspace, draft / "tree", before, known)
            index.write(draft / "index")
            (self._place / "size").write_text(str(self.size + index.copied))
        draft.rename(self._place / stage)
        if (self._place / stage / "index").exists():
            (self._place / "last").write_text(stage)

    def _bring(
        self, stage: StageKey, workspace: Path, owner: int | None, other: "FoundWorkspaces"
    ) -> bool:
        of = self._of(stage)
        if of is None:
            return False
        index = Index.read(of / "index")
        try:
            found = put_back(of / "tree", index, workspace, owner)
        except OSError:
            # Something in it stands in the way, or what was kept is going just now: then this fails as well.
            remove_tree(workspace)
            found = put_back(of / "tree", index, workspace, owner)
        if other is not self:
            of = other._link(stage, of)
        found.copied = index.copied
        found.write(of / "index")
        (of.parent / "last").write_text(of.name)
        return True

    def _link(self, stage: StageKey, of: Path) -> Path:
        """Have another job's copy as one's own as well: files of copies never change."""
        draft, place = self._place / _DRAFT, self._place / stage
        remove_tree(draft)
        remove_tree(place)
        self._place.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.mkdir(mode=0o700)
        take(of / "tree", draft / "tree", of / "tree", look_at(of / "tree"))
        draft.rename(place)
        return place

    def _of(self, stage: StageKey) -> Path | None:
        """Where the copy for a stage is: its own, or the one before that stands for it."""
        place = self._place / stage
        try:
            place = self._place / read_note(f"{place}/as")
        except OSError:
            pass
        return place if (place / "index").exists() else None

    def _last(self) -> Path | None:
        """The copy that was compared with the workspace last."""
        try:
            last = self._place / read_note(f"{self._place}/last")
        except OSError:
            return None
        return last if os.path.exists(last / "index") else None
