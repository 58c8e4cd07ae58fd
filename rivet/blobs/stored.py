"""Where the pieces of blobs are stored: a folder, or a bucket of S3. Only the API speaks to it.

A piece's place is `project/ab/abcd…`, by the SHA-256 of what is in it. Projects share nothing, so that
knowing a digest is of no use in another one.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from rivet.blobs.piece import packed, unpacked
from rivet.domain.errors import InvalidInput, NotFound, Unavailable
from rivet.domain.ids import ProjectId

_TIMEOUTS: Any = {"timeout": "30s", "connect_timeout": "5s"}
_RETRIES: Any = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}


def open_blobs(url: str, folder: Path) -> "StoredBlobs":
    """The store that `url` (RIVET_ARTIFACTS_URL) names; `folder` if it is empty.

    The keys of a bucket are those of the environment (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, …). Raises
    InvalidInput for what is neither a folder nor s3://bucket.
    """
    scheme, found, _ = url.partition("://")
    if found and scheme not in ("s3", "file"):
        raise InvalidInput(
            f"RIVET_ARTIFACTS_URL begins with {scheme}://; a folder is expected, or s3://bucket/prefix"
        )
    try:
        if scheme == "s3" and found:
            return StoredBlobs(_bucket(url))
        place = Path(url.removeprefix("file://")) if url else folder
        if not place.is_absolute():
            raise InvalidInput(f'RIVET_ARTIFACTS_URL: the folder "{place}" must be given with its whole path')
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        return StoredBlobs(LocalStore(place))
    except (BaseError, OSError, ValueError) as error:
        raise InvalidInput(f"RIVET_ARTIFACTS_URL: {_first_line(error)}") from error


def _bucket(url: str) -> S3Store:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
    more: Any = {"endpoint": endpoint} if endpoint else {}
    client = _TIMEOUTS | ({"allow_http": True} if endpoint.startswith("http://") else {})
    return S3Store.from_url(url, client_options=client, retry_config=_RETRIES, **more)


class StoredBlobs:
    """Implements `engine.kept_ports.BlobStore`. Safe among threads."""

    def __init__(self, store: LocalStore | S3Store) -> None:
        self._store = store

    def put(self, project: ProjectId, digest: str, packed: bytes) -> int:
        content = unpacked(packed)
        if hashlib.sha256(content).hexdigest() != digest:
            raise InvalidInput(f"the piece that was sent is not {digest}: it was damaged on its way")
        with _told_as_unavailable():
            obstore.put(self._store, _place(project, digest), packed)
        return len(content)

    def add(self, project: ProjectId, digest: str, content: bytes) -> int:
        piece = packed(content)
        with _told_as_unavailable():
            obstore.put(self._store, _place(project, digest), piece)
        return len(piece)

    def packed(self, project: ProjectId, digest: str) -> bytes:
        with _told_as_unavailable():
            try:
                return bytes(obstore.get(self._store, _place(project, digest)).bytes())
            except FileNotFoundError:
                raise NotFound(f"the piece {digest} is not stored any more") from None

    def piece(self, project: ProjectId, digest: str) -> bytes:
        try:
            content = unpacked(self.packed(project, digest))
        except InvalidInput as damage:
            raise NotFound(f"the piece {digest} is damaged where it is stored: {damage.message}") from damage
        if hashlib.sha256(content).hexdigest() != digest:
            raise NotFound(f"the piece {digest} is damaged where it is stored")
        return content

    def has(self, project: ProjectId, digest: str) -> bool:
        with _told_as_unavailable():
            try:
                obstore.head(self._store, _place(project, digest))
            except FileNotFoundError:
                return False
        return True

    def drop(self, project: ProjectId, digests: Sequence[str]) -> None:
        """One by one: deleting several at once ends at the first that is not there."""
        with _told_as_unavailable():
            for digest in digests:
                with contextlib.suppress(FileNotFoundError):
                    obstore.delete(self._store, _place(project, digest))


def _place(project: ProjectId, digest: str) -> str:
    return f"{project}/{digest[:2]}/{digest}"


@contextlib.contextmanager
def _told_as_unavailable() -> Iterator[None]:
    """Raise Unavailable for a store that does not answer, refuses, or has no room left."""
    try:
        yield
    except (BaseError, OSError) as error:
        raise Unavailable(
            f"the store of artifacts (RIVET_ARTIFACTS_URL) does not do what it should: {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
