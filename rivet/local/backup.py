"""`rivet backup`: everything in one file, while runs go on."""

import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path

import click

from rivet.backup.make import Made, make_backup
from rivet.blobs.stored import open_blobs
from rivet.domain.blob import shown_size
from rivet.domain.errors import RivetError
from rivet.local.database import reachable_database
from rivet.local.half_restored import refuse_half_restored
from rivet.local.home import Home
from rivet.local.key import key_at_hand
from rivet.local.progress import Progress
from rivet.local.told import UNREACHABLE, USAGE, Failed, failures_told, tell
from rivet.wiring.settings import Settings


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--with-key", is_flag=True, help="With the secret key: whoever has FILE can read all secrets.")
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but what went wrong.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def backup(file: Path, with_key: bool, quiet: bool, as_json: bool) -> None:
    """Write pipelines, runs, logs, artifacts, secrets and tokens into FILE, while runs go on.

    Everything in it is of one moment. Secrets stay sealed: to read them again the key of now is needed
    (RIVET_SECRET_KEY, or keys/secret_key in the home), which goes along with --with-key alone. Settings and
    passwords are not in it. FILE is readable by you alone, and must not be there yet.

    Example: rivet backup rivet-backup.tar.zst
    """
    settings = Settings()
    home = Home(settings.home.expanduser().absolute())
    if file.exists():
        raise Failed(f"{file} is there already; name another file", USAGE)
    with failures_told():
        refuse_half_restored(home)
    if not settings.database_url and not home.postgresql.exists():
        raise Failed(f"there is nothing in {home.path} yet; RIVET_HOME names another home", USAGE)
    key = None
    if with_key:
        key = key_at_hand(settings, home)
        if key is None:
            raise Failed("--with-key: there is no key, neither RIVET_SECRET_KEY nor one in the home", USAGE)
    with failures_told():
        try:
            made = _write(file, settings, home, key, Progress("backup", quiet=quiet))
        except RivetError as error:
            raise Failed(error.message, UNREACHABLE) from error
    size = file.stat().st_size
    for digest in made.lost:
        tell(f"the piece {digest} is not stored any more, and so it is not in the backup")
    if as_json:
        click.echo(json.dumps({"file": str(file), "size": size, **asdict(made)}, indent=2))
    elif not quiet:
        click.echo(f"{file}: {made.runs} runs, {made.pieces} pieces of artifacts, {shown_size(size)}")


def _write(file: Path, settings: Settings, home: Home, key: str | None, told: Progress) -> Made:
    """Under another name until it is whole."""
    blobs = open_blobs(settings.artifacts_url, home.path / "artifacts")
    handle, draft = tempfile.mkstemp(dir=file.absolute().parent, prefix=f".{file.name}-")
    try:
        with os.fdopen(handle, "wb") as out, reachable_database(settings, home) as url:
            made = make_backup(out, url, blobs, secret_key=key, told=told)
            out.flush()
            os.fsync(out.fileno())
        os.rename(draft, file)
    except BaseException:
        os.unlink(draft)
        raise
    return made
