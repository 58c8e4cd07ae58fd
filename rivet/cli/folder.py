"""`rivet run --folder`: pack a folder as it is now, and upload it unless the server has it already.

Of a git work tree goes what git knows and what it does not ignore; of any other folder everything. What is
packed depends on names, contents and executable bits alone, so that the same folder has the same digest.
"""

import hashlib
import os
import stat
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, cast
from urllib.parse import quote

import click
import zstandard

from rivet.cli.failures import USAGE, Failed
from rivet.client import ApiProblem, Client
from rivet.domain.blob import shown_size

MOST_BYTES = 256 * 1024 * 1024
ONE_TIME = 946_684_800
"""1 January 2000: times say nothing of what is in a folder, and tools that zip refuse those before 1980."""
SAID_AFTER_S, SAID_EVERY_S = 1.0, 2.0
_GIT_S = 120
_LEVEL = 3
_READ_BYTES = 256 * 1024


def upload_folder(client: Client, project: str, folder: str) -> str:
    """The SHA-256 under which the server has the folder now. Raises Failed, ApiProblem, ApiUnreachable."""
    top = Path(folder)
    if not top.is_dir():
        raise Failed(f"--folder {folder}: there is no such folder", USAGE)
    with tempfile.TemporaryFile() as packed:
        digest, size = pack(top, packed)
        path = f"/projects/{quote(project, safe='')}/folders/{digest}"
        if not _is_there(client, path):
            progress = _Progress(f"uploading {folder}", size)
            client.upload(path, lambda: _pieces(packed, progress), size, "application/octet-stream")
    return digest


def pack(top: Path, into: IO[bytes]) -> tuple[str, int]:
    """Write the folder as tar.zst; its SHA-256, and how many bytes it has. Raises Failed."""
    target = _Target(into, str(top))
    progress = _Progress(f"packing {top}", 0)
    packing = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    try:
        with (
            closing(packing.stream_writer(cast(IO[bytes], target), closefd=False)) as packer,
            tarfile.open(fileobj=packer, mode="w|", format=tarfile.GNU_FORMAT) as tar,
        ):
            for name in sorted(files_of(top)):
                _add(tar, top / name, name)
                tar.members = []  # type: ignore[attr-defined]  # it would remember every one of them
                progress.at(target.size)
    except OSError as error:
        raise Failed(f"--folder {top}: {error.filename or ''}: {error.strerror}", USAGE) from error
    return target.digest.hexdigest(), target.size


def files_of(top: Path) -> Iterator[str]:
    """The paths below `top` that belong to it, folders only where git is not asked. Raises Failed."""
    listed = _listed_by_git(top)
    if listed is None:
        yield from _walked(top)
        return
    for name in listed:
        inner = name.rstrip("/")
        path = top / inner
        if path.is_dir() and not path.is_symlink():
            # A submodule, or a work tree within this one: git names its folder alone.
            yield from (f"{inner}/{below}" for below in files_of(path))
        elif os.path.lexists(path):
            yield inner


def _listed_by_git(top: Path) -> list[str] | None:
    """What git lists of its work tree; None where the folder is in none."""
    command = ["git", "-c", "core.fsmonitor=false", "ls-files", "-z", "-co", "--exclude-standard"]
    try:
        done = subprocess.run(
            command, cwd=top, stdin=subprocess.DEVNULL, capture_output=True, timeout=_GIT_S, check=False
        )
    except FileNotFoundError:
        return None
    except subprocess.TimeoutExpired:
        raise Failed(f"--folder {top}: git did not list its files in {_GIT_S} s", USAGE) from None
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()
        if "not a git repository" in said:
            return None
        raise Failed(f"--folder {top}: git cannot list its files: {said[-500:]}", USAGE)
    return sorted({os.fsdecode(name) for name in done.stdout.split(b"\0") if name})


def _walked(top: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(top):
        if ".git" in folders:
            folders.remove(".git")
        for name in (*folders, *files):
            if name != ".git":
                yield os.path.relpath(os.path.join(folder, name), top)


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    known = path.lstat()
    member = tarfile.TarInfo(name)
    member.mtime = ONE_TIME
    if stat.S_ISLNK(known.st_mode):
        member.type, member.mode, member.linkname = tarfile.SYMTYPE, 0o777, os.readlink(path)
        tar.addfile(member)
    elif stat.S_ISDIR(known.st_mode):
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(member)
    elif stat.S_ISREG(known.st_mode):
        member.mode = 0o755 if known.st_mode & 0o100 else 0o644
        with path.open("rb") as file:
            member.size = os.fstat(file.fileno()).st_size
            try:
                tar.addfile(member, file)
            except OSError as error:
                if error.errno is not None:
                    raise
                raise Failed(f"--folder: {path} changed while it was read; try again", USAGE) from error


class _Target:
    """Where the packed folder goes: counted, hashed and bounded."""

    def __init__(self, into: IO[bytes], name: str) -> None:
        self._into, self._name = into, name
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.size += len(data)
        if self.size > MOST_BYTES:
            raise Failed(
                f"--folder {self._name}: has over {shown_size(MOST_BYTES)} packed, which is the most. "
                "Keep what stages do not need out of it: in a git work tree, by .gitignore",
                USAGE,
            )
        self.digest.update(data)
        return self._into.write(data)


class _Progress:
    """Says on standard error how far something is that takes over a second."""

    def __init__(self, what: str, whole: int) -> None:
        self._what, self._whole = what, whole
        self._next = time.monotonic() + SAID_AFTER_S

    def at(self, size: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + SAID_EVERY_S
            of = f" of {shown_size(self._whole)}" if self._whole else ""
            click.echo(f"rivet: {self._what}: {shown_size(size)}{of}", err=True)


def _is_there(client: Client, path: str) -> bool:
    try:
        client.call("GET", path)
    except ApiProblem as problem:
        if problem.code == "not_found":
            return False
        raise
    return True


def _pieces(packed: IO[bytes], progress: _Progress) -> Iterator[bytes]:
    packed.seek(0)
    sent = 0
    while piece := packed.read(_READ_BYTES):
        yield piece
        sent += len(piece)
        progress.at(sent)
