"""What the verbs need of the world where something is kept: blobs and what refers to them, and reports."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from rivet.domain.artifact import Artifact, Contents
from rivet.domain.blob import Manifest
from rivet.domain.cache import Cache, Look, Shelf
from rivet.domain.ids import ProjectId, RunId, StageKey, TokenId
from rivet.domain.job import Job
from rivet.domain.keeping import Paths
from rivet.domain.report import Case, Coverage

StoredPiece = tuple[ProjectId, str]
"""A piece by its project and its digest."""


class BlobStore(Protocol):
    """Where the pieces of blobs are: a folder or a bucket. A piece is packed with zstd."""

    def put(self, project: ProjectId, digest: str, packed: bytes) -> int:
        """Store a piece; its size unpacked. Raises InvalidInput if it is not what `digest` says."""

    def packed(self, project: ProjectId, digest: str) -> bytes:
        """A piece as it is stored. Raises NotFound."""

    def piece(self, project: ProjectId, digest: str) -> bytes:
        """A piece unpacked, and checked against its digest. Raises NotFound."""

    def has(self, project: ProjectId, digest: str) -> bool: ...
    def drop(self, project: ProjectId, digests: Sequence[str]) -> None:
        """Delete those pieces that are there. Raises Unavailable; some may be gone then."""


    def add(self, project: ProjectId, digest: str, content: bytes) -> int:
        """Pack and store a piece whose digest is known; how much it takes."""


class Blobs(Protocol):
    def add_piece(self, project: ProjectId, digest: str, size: int, stored: int) -> None:
        """Note that a piece is there: its size, and how much it takes packed."""

    def touch_piece(self, project: ProjectId, digest: str, within_s: float) -> bool:
        """Was it stored, and used within these seconds? Then it counts as used now."""

    def sizes(self, project: ProjectId, digests: Iterable[str]) -> Mapping[str, int]:
        """Of those pieces that are there."""

    def add(self, project: ProjectId, manifest: Manifest) -> UUID: ...
    def forget(self, blob: UUID) -> None:
        """Unless something refers to it. Its pieces stay: others may have them too."""

    def forget_unused(self, older_than_s: float, after: UUID | None, look_at: int) -> tuple[int, UUID | None]:
        """Those of that age to which nothing refers, of the next `look_at` in the order of ids: how many, and
        after which to go on, if there may be more."""

    def take_unused_pieces(
        self, unused_for_s: float, after: StoredPiece | None, look_at: int
    ) -> tuple[Sequence[StoredPiece], StoredPiece | None]:
        """Forget pieces that no blob has and that were not used for so long, of the next `look_at` in the
        order of projects and digests: which they were, and after which to go on, if there may be more.

        Until the transaction ends nobody can note any of them anew.
        """


class Artifacts(Protocol):
    def get(self, run: RunId, name: str) -> Artifact | None: ...
    def expired_at(self, run: RunId, name: str) -> datetime | None:
        """Since when an artifact of that name is there no more; None where there is none, or it is there."""

    def put(
        self, run: RunId, name: str, stage: StageKey, attempt: int, contents: Contents, blob: UUID
    ) -> bool:
        """Insert, or replace what the same stage uploaded; False where another stage has the name."""

    def copy(self, origin: RunId, run: RunId, stages: Sequence[StageKey]) -> None:
        """What those stages uploaded in one run is also of the other; the bytes are shared."""


class Caches(Protocol):
    def find(self, look: Look) -> Cache | None:
        """The newest that fits; it counts as used now."""

    def has(self, shelf: Shelf, key: str) -> bool: ...
    def add(self, shelf: Shelf, key: str, contents: Contents, blob: UUID) -> bool:
        """False where the key is there already."""


class Snapshots(Protocol):
    """Workspaces that jobs left, stored so that another runner may go on from them."""

    def put(self, job: Job, contents: Contents, blob: UUID) -> None:
        """As the job left it in its present epoch; what was there of it before is forgotten."""

    def get(self, job: Job) -> Contents | None:
        """As the job left it in its present epoch."""

    def copy(self, origin: Job, job: Job) -> None:
        """What one job left, if it is stored, also stands for what the other left."""

    def forget_of_ended(self, for_s: float) -> int:
        """Those of runs that ended so long ago; how many."""


class Folders(Protocol):
    """What was uploaded for runs to start from, by its SHA-256."""

    def get(self, project: ProjectId, digest: str) -> Manifest | None: ...
    def touch(self, project: ProjectId, digest: str) -> bool:
        """Is it there? If so it counts as used now."""

    def add(self, project: ProjectId, digest: str, blob: UUID) -> bool:
        """False where it is there already."""


class Keeps(Protocol):
    """Files that stages keep for others of their run."""

    def put(self, run: RunId, stage: StageKey, contents: Contents, paths: Paths, blob: UUID) -> None:
        """What the stage kept before is forgotten."""

    def copy(self, origin: RunId, run: RunId, stages: Sequence[StageKey]) -> None:
        """What those stages kept in one run is also kept in the other; the bytes are shared."""

    def of_run(self, run: RunId) -> Mapping[StageKey, Contents]: ...
    def forget_of_ended(self, for_s: float) -> int:
        """Those of runs that ended so long ago; how many."""

    def paths(self, run: RunId, stages: Sequence[StageKey]) -> Mapping[StageKey, Paths]:
        """Of those stages that have kept something, in the order given."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A request with an Idempotency-Key: what was asked (SHA-256), and how it was answered, if it was.

    `made` is the id of what it makes. `is_mine`: nobody else is at it.
    """

    request: bytes
    made: UUID
    answer: bytes | None
    is_mine: bool


class Answered(Protocol):
    """Requests that came with an Idempotency-Key, by the token that sent them."""

    def begin(
        self, token: TokenId, key: str, request: bytes, made: UUID, *, keep_s: float, patience_s: float
    ) -> Begun | None:
        """Begin it, unless it was begun before and is younger than `keep_s`; then what is known of it.

        One that was begun `patience_s` ago and never answered is begun again. None where it went away just
        now.
        """

    def note(self, token: TokenId, key: str, answer: bytes) -> None: ...
    def release(self, token: TokenId, key: str) -> None:
        """It changed nothing, and may be asked anew."""

    def drop(self, keep_s: float) -> None:
        """All that are older."""


class Reports(Protocol):
    def add_tests(
        self, run: RunId, stage: StageKey, attempt: int, first: int, cases: Sequence[Case]
    ) -> None:
        """Cases numbered from `first` within the attempt; what is there already stays."""

    def add_coverage(
        self, run: RunId, stage: StageKey, attempt: int, place: int, coverage: Coverage
    ) -> None: ...
