"""An artifact: files that a stage keeps beyond its run's workspace, under a name of its run."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self

from rivet.domain.blob import Manifest
from rivet.domain.errors import InvalidInput
from rivet.domain.ids import RunId, StageKey

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
NAMED_SO = "1 to 100 letters, digits, dots, dashes and underscores that begin with a letter or digit"
Form = Literal["file", "tar"]
_MOST_PATH = 4096


@dataclass(frozen=True, slots=True)
class Contents:
    """What the blob of an artifact or a cache is.

    `form` is `file` (the very bytes of one) or `tar`; `filename` is what it is called outside of a workspace;
    `root` is the folder of the workspace that it came from and goes back to, empty for the workspace itself.
    """

    form: Form
    filename: str
    root: str
    files: int
    blob: Manifest

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Self:
        """The contents in a table that somebody sent. Raises InvalidInput."""
        form, filename, root, files = (told.get(name) for name in ("form", "filename", "root", "files"))
        if form != "file" and form != "tar":
            raise InvalidInput('form: expected "file" or "tar"')
        if not isinstance(filename, str) or not _is_name(filename):
            raise InvalidInput("filename: expected a name without slashes, of at most 255 bytes")
        if not isinstance(root, str) or not is_inside(root):
            raise InvalidInput("root: expected a relative path that does not lead upwards")
        if not isinstance(files, int) or isinstance(files, bool) or not 0 <= files < 2**31:
            raise InvalidInput("files: expected how many files there are")
        return cls(form, filename, root, files, Manifest.read(told.get("blob")))

    def as_dict(self) -> dict[str, Any]:
        return {
            "form": self.form,
            "filename": self.filename,
            "root": self.root,
            "files": self.files,
            "blob": self.blob.as_dict(),
        }


@dataclass(frozen=True, slots=True)
class Artifact:
    """`name` is unique in the run; the same stage may upload it anew, which replaces it."""

    run_id: RunId
    name: str
    stage: StageKey
    attempt: int
    contents: Contents
    created_at: datetime


def checked_name(given: str) -> str:
    """The name of an artifact. Raises InvalidInput."""
    if not re.fullmatch(NAME, given, re.ASCII):
        raise InvalidInput(f'the artifact\'s name: expected {NAMED_SO}, given "{given[:100]}"')
    return given


def is_inside(path: str) -> bool:
    """Is it, by its spelling, a relative path that does not lead upwards? The empty one is the top."""
    return (
        not path.startswith("/")
        and ".." not in path.split("/")
        and "\0" not in path
        and _is_text(path)
        and len(path) <= _MOST_PATH
    )


def _is_name(text: str) -> bool:
    fits = len(text) > 0 and "/" not in text and "\0" not in text and text not in (".", "..")
    return fits and _is_text(text) and len(text.encode()) <= 255


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
