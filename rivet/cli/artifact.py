"""`rivet artifact`: what runs have kept, listed and downloaded."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

import click

from rivet.cli.complete import run_names
from rivet.cli.failures import FAILED, USAGE, Failed
from rivet.cli.options import json_option, project_option, quiet_option
from rivet.cli.runs import find_run, run_name
from rivet.cli.server import server
from rivet.cli.show import names_alone, table
from rivet.cli.text import since
from rivet.client import ApiProblem, ApiUnreachable, Client
from rivet.domain.blob import shown_size
from rivet.sandbox.unpack import Wrong, unpack_tar

AT_ONCE = 8 * 1024 * 1024
PATIENCE_S = 60.0
HASHED_AT_ONCE = 1 << 20


@click.group()
def artifact() -> None:
    """Artifacts: files that a run has kept.

    Example: rivet artifact download example-pipeline#12 wheel
    """


@artifact.command("list")
@click.argument("name", metavar="RUN", shell_complete=run_names)
@project_option
@quiet_option
@json_option
def list_artifacts(name: str, project: str, quiet: bool, as_json: bool) -> None:
    """List the artifacts of a run.

    Example: rivet artifact list example-pipeline#12
    """
    client = server()
    run = find_run(client, name, project)
    found = _artifacts_of(client, run)
    if as_json:
        click.echo(json.dumps({"items": found, "next_cursor": None}, indent=2))
        return
    if quiet:
        names_alone(found, "name")
        return
    rows = [
        (
            str(one["name"]),
            shown_size(one["size"]),
            str(one["files"]),
            str(one["stage"]),
            since(one["created_at"]),
            f"expired {since(one['expired_at'])}" if one.get("expired_at") else str(one["sha256"]),
        )
        for one in found
    ]
    header = ("ARTIFACT", "SIZE", "FILES", "STAGE", "KEPT", "SHA256")
    table(header, rows, empty=f"{run_name(run)} has kept no artifacts.")


@artifact.command()
@click.argument("name", metavar="RUN", shell_complete=run_names)
@click.argument("names", metavar="[ARTIFACT]...", nargs=-1)
@click.option("--dir", "-d", "folder", default=".", metavar="DIR", help="Where to; made if it is not there.")
@click.option("--no-unpack", is_flag=True, help="Keep several files as the tar that they come as.")
@project_option
@quiet_option
@json_option
def download(
    name: str,
    names: tuple[str, ...],
    folder: str,
    no_unpack: bool,
    project: str,
    quiet: bool,
    as_json: bool,
) -> None:
    """Download artifacts of a run: those named into DIR, or without names all, each into DIR/ARTIFACT.

    What was interrupted goes on where it was when the command is given again. Every download is checked
    against its SHA-256.

    Example: rivet artifact download example-pipeline#12 wheel --dir out
    """
    client = server()
    run = find_run(client, name, project)
    found = {str(one["name"]): one for one in _artifacts_of(client, run)}
    for unknown in names:
        if unknown not in found:
            there = ", ".join(found) or "none"
            raise Failed(f'{run_name(run)} has no artifact "{unknown}"; it has: {there}', USAGE)
    if not found:
        raise Failed(f"{run_name(run)} has kept no artifacts.", USAGE)
    told = []
    for wanted in dict.fromkeys(names or found):
        one = found[wanted]
        if one.get("expired_at"):
            gone = f"{wanted} of {run_name(run)} expired {since(one['expired_at'])}: it is not kept any more"
            if names:
                raise Failed(gone, USAGE)
            click.echo(gone, err=True)
            continue
        target = Path(folder) if names else Path(folder) / wanted
        path = f"/runs/{run['id']}/artifacts/{quote(wanted, safe='')}"
        place = _Download(client, path, one, target).fetch(unpacks=not no_unpack)
        told.append({"name": wanted, "path": str(place), "size": one["size"], "sha256": one["sha256"]})
        if not (quiet or as_json):
            click.echo(f"{wanted}: {shown_size(one['size'])} to {place}", err=True)
    if as_json:
        click.echo(json.dumps({"items": told, "next_cursor": None}, indent=2))


def _artifacts_of(client: Client, run: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = client.call("GET", f"/runs/{run['id']}/artifacts?{urlencode({'limit': 500} | cursor)}")
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


class _Download:
    """One artifact into a folder: in ranges, into a file beside its place until it is whole."""

    def __init__(self, client: Client, path: str, told: Mapping[str, Any], folder: Path) -> None:
        self._client, self._path, self._told, self._folder = client, path, told, folder
        self._size = int(told["size"])

    def fetch(self, *, unpacks: bool) -> Path:
        """Where it is now: a file, or the folder that a tar was unpacked in. Raises Failed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        filename = str(self._told["filename"])
        if "/" in filename or filename in ("", ".", ".."):
            raise Failed(f"the server calls the file {filename!r}, which is no name of a file", FAILED)
        draft = self._folder / f".{filename}.{self._told['sha256'][:16]}.part"
        with draft.open("ab+") as file:
            self._complete(file)
            self._check(file)
            if unpacks and self._told["format"] == "tar":
                self._unpack(file)
                draft.unlink()
                return self._folder
        draft.replace(self._folder / filename)
        return self._folder / filename

    def _complete(self, file: BinaryIO) -> None:
        """Fetch what is not there yet. Only whole answers are written: what is there is what came first."""
        if file.tell() > self._size:
            file.truncate(0)
        while (at := file.seek(0, 2)) < self._size:
            last = min(at + AT_ONCE, self._size) - 1
            part = _patiently(lambda at=at, last=last: self._range(at, last))  # type: ignore[misc]
            wanted = last + 1 - at
            if len(part) != wanted:
                raise Failed(f"the server sent {len(part)} bytes of the {wanted} it was asked for", FAILED)
            file.write(part)
            file.flush()

    def _range(self, first: int, last: int) -> bytes:
        headers = {"Range": f"bytes={first}-{last}", "If-Range": f'"{self._told["sha256"]}"'}
        status, answer = self._client.request("GET", self._path, headers=headers)
        if status == 200:
            raise Failed(f"{self._told['name']} was uploaded anew meanwhile; give the command again", FAILED)
        if status == 206 and isinstance(answer, bytes):
            return answer
        detail = answer.get("detail") if isinstance(answer, dict) else f"the server answered {status}"
        raise ApiProblem(status, f"http_{status}", str(detail))

    def _check(self, file: BinaryIO) -> None:
        digest = hashlib.sha256()
        file.seek(0)
        while part := file.read(HASHED_AT_ONCE):
            digest.update(part)
        if digest.hexdigest() != self._told["sha256"]:
            file.truncate(0)
            raise Failed(
                f"{self._told['name']}: what came has the SHA-256 {digest.hexdigest()}, not "
                f"{self._told['sha256']}; give the command again to fetch it anew",
                FAILED,
            )

    def _unpack(self, file: BinaryIO) -> None:
        file.seek(0)
        try:
            unpack_tar(file, {"": str(self._folder)}, keep_links=False)
        except Wrong as error:
            way_out = "--no-unpack keeps the tar"
            raise Failed(f"{self._told['name']} cannot be unpacked: {error}; {way_out}", FAILED) from error


def _patiently(ask: Callable[[], bytes]) -> bytes:
    """Ask again while the API is away, for a minute."""
    deadline = time.monotonic() + PATIENCE_S
    wait_s = 0.2
    while True:
        try:
            return ask()
        except ApiUnreachable:
            if time.monotonic() > deadline:
                raise
        except ApiProblem as problem:
            if problem.status < 500 or time.monotonic() > deadline:
                raise
        time.sleep(wait_s)
        wait_s = min(wait_s * 2, 2.0)
