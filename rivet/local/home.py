"""RIVET_HOME: where what lives, private files, and secrets that are made on first start."""

import hashlib
import os
import secrets
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LONGEST_SOCKET_FOLDER = 107 - len("/.s.PGSQL.5432.lock")
"""Bytes that a folder's path may have, so that PostgreSQL's socket in it is within the system's bound."""


class HomeUnusable(Exception):
    """RIVET_HOME, or something in it, cannot be used; the message says what and how to mend it."""


@dataclass(frozen=True, slots=True)
class Home:
    """The folders and files beneath RIVET_HOME. Nothing is made until asked for."""

    path: Path

    @property
    def state_file(self) -> Path:
        return self.path / "state.json"

    @property
    def lock_file(self) -> Path:
        return self.path / "up.lock"

    @property
    def restoring(self) -> Path:
        return self.path / "restoring"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def postgresql(self) -> Path:
        return self.path / "postgresql"

    @property
    def redis(self) -> Path:
        return self.path / "redis"

    @property
    def secret_key(self) -> Path:
        return self.path / "keys" / "secret_key"

    @property
    def database_password(self) -> Path:
        return self.path / "keys" / "postgresql_password"

    @property
    def broker_password(self) -> Path:
        return self.path / "keys" / "redis_password"

    @property
    def flower_password(self) -> Path:
        return self.path / "keys" / "flower_password"

    @property
    def admin_token(self) -> Path:
        return self.path / "tokens" / "admin"

    @property
    def runner_token(self) -> Path:
        return self.path / "tokens" / "runner"

    def prepare(self) -> None:
        """Make the folders, readable by their owner alone. Raises HomeUnusable."""
        private_folder(self.path, may_be_passed=True)
        for folder in (self.logs, self.redis, self.path / "keys", self.path / "tokens"):
            private_folder(folder)

    def socket_folder(self) -> Path:
        """A private folder whose path is short enough for a Unix socket in it. Raises HomeUnusable."""
        inside = self.path / "run"
        # To libpq a comma separates hosts, and cannot be quoted.
        if len(os.fsencode(inside)) <= LONGEST_SOCKET_FOLDER and "," not in str(inside):
            private_folder(inside)
            return inside
        name = f"rivet-{os.geteuid()}-{hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]}"
        temporary = Path(tempfile.gettempdir())
        if len(os.fsencode(temporary / name)) > LONGEST_SOCKET_FOLDER:
            temporary = Path("/tmp")  # noqa: S108 - the folder in it is ours alone, which is checked
        private_folder(temporary / name)
        return temporary / name


def leave_socket_folder(home: Home) -> None:
    """Remove a folder for sockets that lies outside of the home, if nothing is in it any more."""
    try:
        folder = home.socket_folder()
        if not folder.is_relative_to(home.path):
            folder.rmdir()
    except (OSError, HomeUnusable):
        pass


def private_folder(path: Path, *, may_be_passed: bool = False) -> None:
    """Make `path` with mode 0700. Raises HomeUnusable if it belongs to another, or is no folder.

    One that `may_be_passed` stays as it is where others may go through and not look: stages of a runner
    without namespaces have to.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            found = path.stat()
        if found.st_uid != os.geteuid():
            raise HomeUnusable(
                f"{path} belongs to user id {found.st_uid}, not to you ({os.geteuid()}). "
                "Give it to you, or name another folder in RIVET_HOME."
            )
        if stat.S_IMODE(found.st_mode) & (0o066 if may_be_passed else 0o077):
            path.chmod(0o700)
    except FileExistsError:
        raise HomeUnusable(f"{path} is a file, and a folder is needed there; see RIVET_HOME.") from None
    except OSError as error:
        raise HomeUnusable(f"{path} cannot be made: {error.strerror}. Name another in RIVET_HOME.") from error


def write_private(path: Path, text: str) -> None:
    """Write `text` whole or not at all, readable by its owner alone from the first byte on."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def kept_secret(path: Path, make: Callable[[], str] = lambda: secrets.token_urlsafe(32)) -> str:
    """The secret in `path`, made there on first use. The file holds the secret and nothing else."""
    try:
        kept = path.read_text().strip()
    except FileNotFoundError:
        kept = ""
    except OSError as error:
        raise HomeUnusable(f"{path} cannot be read: {error.strerror}.") from error
    if kept:
        return kept
    made = make()
    write_private(path, made + "\n")
    return made
