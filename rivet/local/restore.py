"""`rivet restore`: from the file of a backup into an empty home, or an empty database."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from rivet.backup.archive import ArchiveReader, Header
from rivet.backup.make import KEY
from rivet.backup.restore import Restored, refuse_full, refuse_unknown, restore_backup
from rivet.blobs.stored import open_blobs
from rivet.domain.errors import Conflict, RivetError, Unavailable
from rivet.keyring import Keyring
from rivet.local.database import reachable_database
from rivet.local.half_restored import clear_away, restoring, was_cut_off
from rivet.local.home import Home, write_private
from rivet.local.key import key_at_hand
from rivet.local.progress import Progress
from rivet.local.state import is_locked
from rivet.local.told import UNREACHABLE, USAGE, Failed, failures_told, tell
from rivet.wiring.settings import Settings


@dataclass(frozen=True, slots=True)
class _Key:
    """How secrets will be opened. `missing` are ids of keys that nobody has here; `to_write` goes into the
    home."""

    missing: tuple[str, ...]
    to_write: str | None = None


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but what went wrong.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def restore(file: Path, quiet: bool, as_json: bool) -> None:
    """Restore the backup FILE into an empty home, or into the empty database of RIVET_DATABASE_URL.

    All of FILE is read and compared with its digests before anything is touched. What was going on when the
    backup was made has ended afterwards, `errored` for the reason `restored`. Runners register anew. One that
    was cut off is given again, and starts over.

    Example: rivet restore rivet-backup.tar.zst
    """
    settings = Settings()
    home = Home(settings.home.expanduser().absolute())
    with failures_told():
        try:
            restored, key = _restore(file, settings, home, quiet)
        except Unavailable as error:
            raise Failed(error.message, UNREACHABLE) from error
        except RivetError as error:
            raise Failed(error.message, USAGE) from error
    if key.missing:
        tell(
            f"secrets were sealed under the key {', '.join(key.missing)}: set RIVET_SECRET_KEY to the key of "
            "then before `rivet up`, or set the secrets anew; no other key opens them"
        )
    if as_json:
        click.echo(json.dumps({**asdict(restored), "missing_keys": list(key.missing)}, indent=2))
    elif not quiet:
        click.echo(
            f"restored {restored.runs} runs and {restored.pieces} pieces of artifacts; {restored.ended} runs "
            "were going on and have ended as `errored`, for the reason `restored`"
        )


def _restore(file: Path, settings: Settings, home: Home, quiet: bool) -> tuple[Restored, _Key]:
    """Everything that can be refused is, before anything is touched."""
    archive = ArchiveReader(file)
    checking = Progress("checking", quiet=quiet)
    header = archive.verify(lambda count: checking("digests", count))
    refuse_unknown(header, str(file))
    embedded = not settings.database_url
    is_cut_off = was_cut_off(home)
    if home.path.exists() and is_locked(home):
        raise Failed(f"a `rivet up` runs from {home.path}; name an empty home in RIVET_HOME", USAGE)
    if not embedded:
        _refuse_full_database(settings.database_url, home, is_cut_off)
    if is_cut_off:
        tell(
            f"an earlier `rivet restore` into {home.path} was cut off: what it left goes, this one starts "
            "over"
        )
        clear_away(home, embedded=embedded)
    _refuse_full_home(settings, home)
    key = _key(archive, header, settings, home)
    with restoring(home, embedded=embedded):
        if key.to_write is not None:
            # Before the database is whole: whoever finds it so has the key as well.
            write_private(home.secret_key, key.to_write + "\n")
        blobs = open_blobs(settings.artifacts_url, home.path / "artifacts")
        with reachable_database(settings, home) as url:
            restored = restore_backup(
                archive, header, url, blobs, told=Progress("restore", quiet=quiet)
            )
    return restored, key


def _refuse_full_database(database_url: str, home: Home, is_cut_off: bool) -> None:
    try:
        refuse_full(database_url)
    except Conflict as error:
        if not is_cut_off:
            raise
        raise Failed(
            "the database has tables of Rivet. If its runs are the backup's, the restore that was cut off "
            f"had all but ended: delete {home.restoring}, and go on. Else name an empty one in "
            "RIVET_DATABASE_URL",
            USAGE,
        ) from error


def _refuse_full_home(settings: Settings, home: Home) -> None:
    artifacts = home.path / "artifacts"
    full = [artifacts] if artifacts.is_dir() and any(artifacts.iterdir()) else []
    if not settings.database_url and home.postgresql.exists():
        full.append(home.postgresql)
    if full:
        raise Failed(
            f"{home.path} is not empty: it has {' and '.join(one.name for one in full)}. A backup is "
            "restored into an empty home only: name another in RIVET_HOME",
            USAGE,
        )


def _key(archive: ArchiveReader, header: Header, settings: Settings, home: Home) -> _Key:
    """Which key will open the secrets. Raises Failed for one at hand that opens none of them."""
    at_hand = key_at_hand(settings, home)
    wanted = set(header.key_ids)
    if at_hand is not None:
        found = Keyring(at_hand).secrets_key_id()
        if wanted and found not in wanted:
            raise Failed(
                f"the key here (RIVET_SECRET_KEY, or keys/secret_key in the home) is {found}; secrets "
                f"of the backup were sealed under {', '.join(sorted(wanted))}: set RIVET_SECRET_KEY to that "
                "one. Nothing was touched",
                USAGE,
            )
        return _Key(tuple(sorted(wanted - {found})))
    if header.has_key:
        kept = next(member.data.decode() for member in archive.members() if member.name == KEY)
        return _Key(tuple(sorted(wanted - {Keyring(kept).secrets_key_id()})), kept)
    return _Key(tuple(sorted(wanted)))
